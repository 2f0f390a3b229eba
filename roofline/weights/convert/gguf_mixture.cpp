#include "roofline/weights/convert/gguf_mixture.h"

#include <algorithm>
#include <string_view>

#include "roofline/spec/gguf_names.h"
#include "roofline/spec/mixture_names.h"

namespace roofline {

namespace {

// llama.cpp's numbers for them.
constexpr int kSoftmax = 1;
constexpr int kSigmoid = 2;

}  // namespace

std::vector<std::pair<std::string, GgufValue>> gguf_mixture_metadata(
    const ModelSpec& spec,
    const GgufArchitecture& architecture) {
  std::vector<std::pair<std::string, GgufValue>> out;
  const auto size = [&](const char* name, std::int64_t value) {
    out.emplace_back(name, static_cast<std::uint32_t>(value));
  };
  const auto first = std::find_if(
      spec.layers.begin(),
      spec.layers.end(),
      [](const LayerSpec& layer) {
        return layer.feed_forward && layer.feed_forward->mixture;
      });
  if (first == spec.layers.end()) {
    if (architecture.needs_shared_experts) {
      // No layer reads them, but the loader asks for the keys.
      size("expert_feed_forward_length", spec.layers[0].feed_forward->hidden);
      size("expert_shared_count", 0);
      size("leading_dense_block_count", first - spec.layers.begin());
    }
    return out;
  }
  const MixtureSpec& mixture = *first->feed_forward->mixture;
  size("expert_count", mixture.experts);
  size("expert_used_count", mixture.top_k);
  size("expert_feed_forward_length", mixture.expert_hidden);
  if (architecture.dense_first) {
    size("leading_dense_block_count", first - spec.layers.begin());
    size("interleave_moe_layer_step", 1);
  }
  if (mixture.shared_hidden > 0) {
    size("expert_shared_feed_forward_length", mixture.shared_hidden);
  }
  if (mixture.shared_hidden % mixture.expert_hidden == 0) {
    size("expert_shared_count", mixture.shared_hidden / mixture.expert_hidden);
  }
  if (mixture.latent_dim) {
    size("moe_latent_size", *mixture.latent_dim);
  }
  if (mixture.groups > 1) {
    size("expert_group_count", mixture.groups);
    size("expert_group_used_count", mixture.top_groups);
  }
  if (mixture.score == ExpertScore::sigmoid) {
    size("expert_gating_func", kSigmoid);
  } else if (architecture.expert_weights) {
    size("expert_gating_func", kSoftmax);
  }
  if (architecture.expert_weights) {
    out.emplace_back("expert_weights_norm", mixture.renormalise);
    out.emplace_back("expert_weights_scale", mixture.scale);
  }
  return out;
}

std::vector<GgufSource> gguf_packed_experts(
    const std::string& ours,
    const LayerSpec& layer) {
  const MixtureSpec& mixture = *layer.feed_forward->mixture;
  const bool bias = ours.ends_with(".bias");
  std::vector<GgufSource> out(2);
  for (std::size_t i = 0; i < out.size(); ++i) {
    GgufSource& source = out[i];
    source.ours = {ours};
    source.name = with_gguf_ending(
        gguf_mixture_name(i == 0 ? "experts.gate" : "experts.up"),
        bias);
    source.experts = mixture.experts;
    const std::int64_t rows =
        std::int64_t{mixture.expert_hidden} * (bias ? 1 : mixture.experts);
    auto& taken = bias ? source.cols : source.rows;
    for (std::int64_t row = 0; row < rows; ++row) {
      taken.push_back(2 * row + static_cast<std::int64_t>(i));
    }
  }
  return out;
}

}  // namespace roofline
