#include "roofline/weights/convert/gguf_extras_metadata.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace roofline {

namespace {

/// x with Φ(x) = share, by halving: files have it beside numbers of float32.
float normal_quantile(float share) {
  double low = -10.0;
  double high = 10.0;
  for (int i = 0; i < 60; ++i) {
    const double x = (low + high) / 2;
    (0.5 * std::erfc(-x / M_SQRT2) < double{share} ? low : high) = x;
  }
  return static_cast<float>(low);
}

}  // namespace

std::vector<std::pair<std::string, GgufValue>> gguf_extras_metadata(
    const ModelSpec& spec,
    const Family& family) {
  std::vector<std::pair<std::string, GgufValue>> out;
  const auto size = [&](const char* name, std::int64_t value) {
    out.emplace_back(name, static_cast<std::uint32_t>(value));
  };
  if (family.shared_kv_layers) {
    size(
        "attention.shared_kv_layers",
        std::count_if(
            spec.layers.begin(),
            spec.layers.end(),
            [](const LayerSpec& layer) {
              return layer.attention && layer.attention->shares_kv_of_layer;
            }));
  }
  if (family.per_layer_embedding) {
    size(
        "embedding_length_per_layer_input",
        spec.per_layer_embedding.value_or(0));
  }
  if (spec.streams) {
    size("altup.num_inputs", spec.streams->count);
    size("altup.active_idx", spec.streams->active);
  }
  if (family.gate_sparsity) {
    std::vector<float> scales;
    for (const LayerSpec& layer : spec.layers) {
      const auto share = layer.feed_forward->gate_sparsity;
      scales.push_back(
          share ? normal_quantile(*share)
                : -std::numeric_limits<float>::infinity());
    }
    out.emplace_back("activation_sparsity_scale", scales);
  }
  return out;
}

}  // namespace roofline
