#include "roofline/kernels/peak/peak.h"

#include <gtest/gtest.h>

#include "tests/kernels/isas.h"

namespace roofline {
namespace {

TEST(Peak, EveryInstructionSetCountsWhatItDoes) {
  for (const Isa isa : testing::runnable_isas()) {
    for (const PeakKind kind :
         {PeakKind::int8, PeakKind::float32, PeakKind::bfloat16}) {
      const PeakKernel kernel = peak_kernel(kind, isa);
      ASSERT_NE(kernel.run, nullptr);
      EXPECT_GT(kernel.operations, 0);
      // Sums of int8 products of ones grow by 4 a round in each chain, those of
      // bfloat16 on tiles by 1/8; those of floats come to their limit 2: the
      // work was really done.
      const std::int64_t few = kernel.run(10);
      const std::int64_t many = kernel.run(1000);
      if (kind == PeakKind::bfloat16 && isa == Isa::amx) {
        EXPECT_EQ(kernel.run(80), 10);
        EXPECT_EQ(kernel.run(1600), 200);
      } else if (kind == PeakKind::int8 && isa != Isa::generic) {
        EXPECT_EQ(many, 100 * few) << isa_name(isa);
      } else {
        EXPECT_NEAR(
            static_cast<double>(many),
            2.0 * static_cast<double>(few) / 2.0,
            1);
        EXPECT_GT(few, 0);
      }
    }
  }
}

}  // namespace
}  // namespace roofline
