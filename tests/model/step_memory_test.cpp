#include "roofline/model/step_memory.h"

#include <gtest/gtest.h>

namespace roofline {
namespace {

ModelSpec llama(int layers) {
  ModelSpec spec;
  spec.dim = 2048;
  LayerSpec layer;
  layer.attention->heads = 32;
  layer.attention->kv_heads = 8;
  layer.attention->head_dim = 64;
  layer.feed_forward->hidden = 8192;
  spec.layers.assign(layers, layer);
  return spec;
}

TEST(GraphLayerBytes, CountsResultsAndDecodedMatrices) {
  const auto spec = llama(1);
  const double qkv = 2048 + 2 * 512;
  const double results = 4 * 2048 + 2 * qkv + 3 * 8192;
  EXPECT_EQ(
      graph_layer_bytes(spec, spec.layers[0], 512, false),
      2 * 512 * results);
  const double matrices = 2048 * (2048 + qkv) + 3.0 * 2048 * 8192;
  EXPECT_EQ(
      graph_layer_bytes(spec, spec.layers[0], 512, true),
      2 * (512 * results + matrices));
}

TEST(GraphStepBytes, AreBoundedByTwoLotsOfLayers) {
  const double layer =
      graph_layer_bytes(llama(1), llama(1).layers[0], 512, true);
  EXPECT_GT(layer, kLotBytes);  // each layer is a lot
  EXPECT_EQ(graph_step_bytes(llama(80), 512, true), 2 * layer);
  EXPECT_EQ(graph_step_bytes(llama(1), 512, true), layer);
  // Two layers of less make one.
  const double small =
      graph_layer_bytes(llama(1), llama(1).layers[0], 512, false);
  EXPECT_EQ(graph_step_bytes(llama(80), 512, false), 4 * small);
  // Few such layers go whole.
  EXPECT_TRUE(in_lots(llama(13), 512, false));
  EXPECT_FALSE(in_lots(llama(12), 512, false));
  EXPECT_EQ(graph_step_bytes(llama(12), 512, false), 12 * small);
  // A shorter step makes less of the same lots.
  EXPECT_EQ(graph_step_bytes(llama(80), 128, false), small);
}

TEST(GraphStepBytes, OfFewTokensAreThoseOfAllLayers) {
  const double layer =
      graph_layer_bytes(llama(1), llama(1).layers[0], 63, false);
  EXPECT_DOUBLE_EQ(graph_step_bytes(llama(80), 63, false), 80 * layer);
}

}  // namespace
}  // namespace roofline
