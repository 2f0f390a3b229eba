#include "roofline/weights/convert/gguf_folding.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace roofline {

namespace {

/// A factor on a part's input isn't on its bias.
struct Factor {
  float weight = 1.0f;
  float bias = 1.0f;
};

Factor both(float factor) {
  return {factor, factor};
}

Factor attention_factor(std::string_view rest, const LayerSpec& layer) {
  const float in = layer.attention_input_scale;
  const float key = layer.attention->key_scale;
  if (rest == "attention.q" || rest == "attention.v") {
    return {in, 1.0f};
  }
  if (rest == "attention.k") {
    return {in * key, key};
  }
  return rest == "attention.o" ? both(layer.attention_output_scale) : Factor{};
}

Factor feed_forward_factor(std::string_view rest, const FeedForwardSpec& f) {
  if (rest == "feed_forward.gate") {
    return both(f.gate_scale);
  }
  return rest == "feed_forward.down" ? both(f.output_scale) : Factor{};
}

/// Rows of z, x, B, C and the steps.
std::vector<float> input_factors(const RecurrentSpec& r, bool bias) {
  const auto inner = static_cast<std::size_t>(r.heads * r.head_dim);
  const auto shared = static_cast<std::size_t>(r.key_heads * r.state_dim);
  const std::size_t rows[] =
      {inner, inner, shared, shared, static_cast<std::size_t>(r.heads)};
  std::vector<float> out;
  for (std::size_t i = 0; i < std::size(rows); ++i) {
    const float part = r.part_scales.empty() ? 1.0f : r.part_scales[i];
    out.insert(out.end(), rows[i], bias ? part : part * r.input_scale);
  }
  return out;
}

}  // namespace

std::vector<float> folded_factors(
    std::string_view name,
    bool bias,
    const ModelSpec& spec,
    const LayerSpec* layer) {
  std::vector<float> out;
  Factor one;
  if (name == "embed") {
    one = both(spec.embedding_scale);
  } else if (name == "head") {
    one = both(spec.logit_scale);
  } else if (layer == nullptr) {
    return {};
  } else if (name == "recurrent.in") {
    out = input_factors(*layer->recurrent, bias);
  } else if (name == "recurrent.out") {
    one = both(layer->recurrent->output_scale);
  } else if (name.starts_with("attention.") && layer->attention) {
    one = attention_factor(name, *layer);
  } else if (name.starts_with("feed_forward.") && layer->feed_forward) {
    one = feed_forward_factor(name, *layer->feed_forward);
  }
  if (out.empty()) {
    out = {bias ? one.bias : one.weight};
  }
  const bool changes = std::any_of(out.begin(), out.end(), [](float factor) {
    return factor != 1.0f;
  });
  return changes ? out : std::vector<float>();
}

ModelSpec without_factors(ModelSpec spec) {
  spec.embedding_scale = 1.0f;
  spec.logit_scale = 1.0f;
  for (LayerSpec& layer : spec.layers) {
    layer.attention_input_scale = 1.0f;
    layer.attention_output_scale = 1.0f;
    if (layer.attention) {
      layer.attention->key_scale = 1.0f;
    }
    if (layer.recurrent) {
      layer.recurrent->part_scales.clear();
      layer.recurrent->input_scale = 1.0f;
      layer.recurrent->output_scale = 1.0f;
    }
    if (layer.feed_forward) {
      layer.feed_forward->gate_scale = 1.0f;
      layer.feed_forward->output_scale = 1.0f;
    }
  }
  return spec;
}

}  // namespace roofline
