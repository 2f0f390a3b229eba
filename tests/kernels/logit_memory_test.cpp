#include "roofline/kernels/block/logit_memory.h"

#include <memory>

#include <gtest/gtest.h>

namespace roofline {
namespace {

TEST(LogitMemory, WhatAnArrayLeftGoesToTheNextThatFits) {
  const auto memory = std::make_shared<LogitMemory>();
  const void* first = nullptr;
  {
    const auto data = memory->take(1000);
    first = data.buffer().ptr();
  }
  {
    const auto data = memory->take(400);
    EXPECT_EQ(data.buffer().ptr(), first);
    const auto other = memory->take(400);
    EXPECT_NE(other.buffer().ptr(), first);
  }
  auto larger = memory->take(5000);
  EXPECT_NE(larger.buffer().ptr(), first);
  EXPECT_GE(mx::allocator::allocator().size(larger.buffer()), 5000u);
}

TEST(LogitMemory, AnArrayMayOutliveIt) {
  auto memory = std::make_shared<LogitMemory>();
  auto data = std::make_unique<mx::allocator::Data>(memory->take(64));
  memory.reset();
  static_cast<float*>(data->buffer().raw_ptr())[15] = 1.0f;
  data.reset();
}

}  // namespace
}  // namespace roofline
