#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/spec/model_spec.h"

namespace roofline {

namespace {

std::optional<std::string> missing_in_attention(const AttentionSpec& a) {
  if (a.latent) {
    return "latent attention";
  }
  if (a.sinks) {
    return "attention sinks";
  }
  if (a.output_gate) {
    return "a gate on the attended values";
  }
  if (a.value_dim && *a.value_dim != a.head_dim) {
    return "values of other dims than keys";
  }
  if (a.shares_kv_of_layer) {
    return "keys and values shared by layers";
  }
  return std::nullopt;
}

std::optional<std::string> missing_in_layer(const LayerSpec& layer) {
  if (layer.feed_forward && layer.feed_forward->mixture) {
    return "a mixture of experts";
  }
  if (layer.recurrent) {
    return "recurrent layers";
  }
  if (!layer.attention || !layer.feed_forward) {
    return "layers of one part only";
  }
  return missing_in_attention(*layer.attention);
}

}  // namespace

std::optional<std::string> missing_mechanism(const ModelSpec& spec) {
  if (spec.learned_positions) {
    return "learnt positions";
  }
  if (spec.per_layer_embedding) {
    return "embeddings of each layer's own";
  }
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
