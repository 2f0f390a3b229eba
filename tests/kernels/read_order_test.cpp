#include "roofline/kernels/block/read_order.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <vector>

namespace roofline {
namespace {

/// Quantized matrices, one after the other in memory that nobody reads.
class Matrices {
 public:
  PackedMatrix next(int rows, int cols) {
    PackedMatrix matrix;
    static_cast<PackedForm&>(matrix) = PackedForm(PackedFormat::q4, 1, 8);
    matrix.rows = rows;
    matrix.cols = cols;
    matrix.data = memory_.data() + used_;
    used_ += matrix.bytes();
    return matrix;
  }

 private:
  std::vector<std::byte> memory_ = std::vector<std::byte>(8 << 20);
  std::size_t used_ = 0;
};

StepModel model_of(Matrices& from, int layers) {
  StepModel model;
  model.dim = 1024;
  for (int i = 0; i < layers; ++i) {
    StepLayer layer;
    layer.attention.qkv.parts = {
        from.next(256, 1024),
        from.next(64, 1024),
        from.next(64, 1024)};
    layer.attention.out.parts = {from.next(256, 1024)};
    layer.feed_forward.gate.parts = {from.next(1024, 1024)};
    layer.feed_forward.up.parts = {from.next(1024, 1024)};
    layer.feed_forward.down.parts = {from.next(256, 1024)};
    model.layers.push_back(layer);
  }
  model.head.parts = {from.next(4096, 1024)};
  return model;
}

TEST(ReadOrder, ThreadsBeginAtTheirSharesOfEachProduct) {
  Matrices matrices;
  const StepModel model = model_of(matrices, 2);
  ReadOrder order;
  order.prepare(model, model.head, 2);
  const auto begins_at =
      [&](std::size_t product, std::size_t thread, const std::byte* at) {
        const ReadAhead read = order.product(product)[thread];
        EXPECT_EQ(read.begin, at) << product << ", thread " << thread;
        EXPECT_GT(read.bytes, 0u);
      };
  for (std::size_t i = 0; i < 2; ++i) {
    const StepLayer& layer = model.layers[i];
    const std::size_t first = i * ReadOrder::kLayerProducts;
    // 384 rows in all: half of them end within the queries.
    begins_at(first, 0, layer.attention.qkv.parts[0].data);
    begins_at(first, 1, layer.attention.qkv.parts[0].block(12));
    begins_at(first + 1, 1, layer.attention.out.parts[0].block(8));
    begins_at(first + 2, 0, layer.feed_forward.gate.parts[0].data);
    begins_at(first + 2, 1, layer.feed_forward.gate.parts[0].block(32));
    begins_at(first + 3, 1, layer.feed_forward.down.parts[0].block(8));
  }
  begins_at(8, 0, model.head.parts[0].data);
  begins_at(8, 1, model.head.parts[0].block(128));
}

TEST(ReadOrder, IsFoundAnewForOtherThreadsAndLayers) {
  Matrices matrices;
  StepModel model = model_of(matrices, 1);
  ReadOrder order;
  order.prepare(model, model.head, 4);
  EXPECT_EQ(order.product(4).size(), 4u);
  order.prepare(model, model.head, 2);
  EXPECT_EQ(order.product(4).size(), 2u);
  model.layers.push_back(model.layers.front());
  order.prepare(model, model.head, 2);
  EXPECT_EQ(order.product(8)[0].begin, model.head.parts[0].data);
}

}  // namespace
}  // namespace roofline
