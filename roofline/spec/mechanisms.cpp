#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/spec/model_spec.h"

namespace roofline {

namespace {

std::optional<std::string> missing_in_attention(const AttentionSpec& a) {
  if (!a.latent && a.value_dim && *a.value_dim != a.head_dim) {
    return "values of other dims than keys";
  }
  return std::nullopt;
}

std::optional<std::string> missing_in_feed_forward(const FeedForwardSpec& f) {
  if (f.clamped_glu && !f.mixture) {
    return "gates and values kept in bounds";
  }
  if (f.mixture && (f.gate_scale != 1.0f || f.output_scale != 1.0f)) {
    return "factors in a mixture of experts";
  }
  return std::nullopt;
}

std::optional<std::string> missing_in_layer(const LayerSpec& layer) {
  if (layer.feed_forward) {
    if (auto missing = missing_in_feed_forward(*layer.feed_forward)) {
      return missing;
    }
  }
  return layer.attention ? missing_in_attention(*layer.attention)
                         : std::nullopt;
}

/// What the fused CPU step's attention lacks that the graph has.
std::optional<std::string> missing_in_step_attention(const AttentionSpec& a) {
  if (a.latent) {
    return "latent attention";
  }
  if (a.sinks) {
    return "attention sinks";
  }
  if (a.qk_norm == QkNorm::per_head_own || a.qk_norm_spec ||
      (a.qk_norm != QkNorm::none &&
       a.qk_norm_place == QkNormPlace::after_rope)) {
    return "this normalization of queries and keys";
  }
  if (a.value_norm || a.output_norm) {
    return "a normalization of values";
  }
  if (a.clip) {
    return "bounds on queries, keys and values";
  }
  if (a.query_temperature || a.key_scale != 1.0f) {
    return "factors on queries or keys";
  }
  if (a.values_are_keys || a.shares_kv_of_layer) {
    return "keys and values of another origin";
  }
  if (a.output_gate) {
    return "a gate on the attended values";
  }
  return missing_in_attention(a);
}

std::optional<std::string> missing_in_step_feed_forward(
    const FeedForwardSpec& f) {
  if (f.mixture) {
    return "a mixture of experts";
  }
  if (f.activation == Activation::xielu) {
    return "this activation";
  }
  if (f.gate_sparsity) {
    return "sparse gates";
  }
  if (f.hidden_norm) {
    return "a normalization inside the feed-forward part";
  }
  if (f.gate_scale != 1.0f || f.output_scale != 1.0f) {
    return "factors in the feed-forward part";
  }
  return std::nullopt;
}

std::optional<std::string> missing_in_step_layer(const LayerSpec& layer) {
  if (auto missing = missing_in_layer(layer)) {
    return missing;
  }
  if (layer.recurrent) {
    return "recurrent layers";
  }
  if (!layer.attention || !layer.feed_forward) {
    return "layers of one part only";
  }
  if (layer.attention_input_scale != 1.0f ||
      layer.attention_output_scale != 1.0f) {
    return "factors on the attention's input and output";
  }
  if (layer.output_scalar || layer.low_rank_twin) {
    return "parts of a layer beside attention and feed-forward";
  }
  if (layer.norm_placement == NormPlacement::parallel_own_norms) {
    return "parallel parts with norms of their own";
  }
  if (!layer.norm.affine) {
    return "norms without weights";
  }
  if (auto missing = missing_in_step_attention(*layer.attention)) {
    return missing;
  }
  return missing_in_step_feed_forward(*layer.feed_forward);
}

}  // namespace

std::optional<std::string> missing_in_cpu_step(const ModelSpec& spec) {
  if (auto missing = missing_mechanism(spec)) {
    return missing;
  }
  if (spec.head_bias) {
    return "a bias of the head";
  }
  if (spec.learned_positions) {
    return "learnt positions";
  }
  if (spec.streams) {
    return "several residual streams";
  }
  if (spec.per_layer_embedding) {
    return "embeddings of each layer's own";
  }
  if (!spec.final_norm.affine) {
    return "norms without weights";
  }
  for (const LayerSpec& layer : spec.layers) {
    if (auto missing = missing_in_step_layer(layer)) {
      return missing;
    }
  }
  return std::nullopt;
}

std::optional<std::string> missing_mechanism(const ModelSpec& spec) {
  for (const LayerSpec& layer : spec.layers) {
    if (auto missing = missing_in_layer(layer)) {
      return missing;
    }
  }
  if (spec.plan_only) {
    return "the exact arithmetic of family " + spec.family;
  }
  return std::nullopt;
}

void require_runnable(const ModelSpec& spec) {
  const std::optional<std::string> missing = missing_mechanism(spec);
  if (!missing) {
    return;
  }
  fail<UnsupportedError>(
      fmt::format("Models of family {} can't be run yet", spec.family),
      fmt::format("The decoder lacks {}", *missing),
      "`roofline memory` and `roofline recommend` can plan it");
}

}  // namespace roofline
