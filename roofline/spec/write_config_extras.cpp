#include <algorithm>
#include <string>

#include <fmt/format.h>

#include "roofline/spec/rope.h"
#include "roofline/spec/write_config_parts.h"

namespace roofline {

namespace {

using Json = nlohmann::json;

const AttentionSpec* attention_where(const ModelSpec& spec, bool window) {
  for (const LayerSpec& layer : spec.layers) {
    if (layer.attention &&
        layer.attention->window_tokens.has_value() == window) {
      return &*layer.attention;
    }
  }
  return nullptr;
}

void write_shared_layers(const ModelSpec& spec, bool lists, Json& out) {
  int shared = 0;
  bool wide = false;
  const int first = spec.layers.front().feed_forward->hidden;
  Json widths = Json::array();
  for (const LayerSpec& layer : spec.layers) {
    widths.push_back(layer.feed_forward->hidden);
    if (layer.attention->shares_kv_of_layer) {
      ++shared;
      wide = wide || layer.feed_forward->hidden == 2 * first;
    }
  }
  out["num_kv_shared_layers"] = shared;
  if (lists) {
    out["intermediate_size"] = widths;
  } else {
    out["intermediate_size"] = first;
    out["use_double_wide_mlp"] = wide;
  }
}

/// Only the first pairs of a head turn in layers that see all.
double turning_share(const AttentionSpec& attention) {
  const auto& frequencies = attention.rope->regimes[0].frequencies;
  const auto turning = std::count_if(
      frequencies.begin(),
      frequencies.end(),
      [](float frequency) { return frequency > 1e-20f; });
  return 2.0 * static_cast<double>(turning) / attention.head_dim;
}

void write_two_heads(const ModelSpec& spec, Json& out) {
  const AttentionSpec* full = attention_where(spec, false);
  const AttentionSpec* sliding = attention_where(spec, true);
  const AttentionSpec& usual = sliding != nullptr ? *sliding : *full;
  out["head_dim"] = usual.head_dim;
  out["num_key_value_heads"] = usual.kv_heads;
  Json rope = Json::object();
  if (sliding != nullptr) {
    rope["sliding_attention"] = {
        {"rope_type", "default"},
        {"rope_theta", sliding->rope->theta}};
  }
  if (full != nullptr) {
    out["global_head_dim"] = full->head_dim;
    out["attention_k_eq_v"] = full->values_are_keys;
    if (full->values_are_keys) {
      out["num_global_key_value_heads"] = full->kv_heads;
    }
    rope["full_attention"] = {
        {"rope_type", "proportional"},
        {"rope_theta", full->rope->theta},
        {"partial_rotary_factor", turning_share(*full)}};
  }
  out["rope_parameters"] = rope;
  for (const char* name :
       {"rope_theta", "rope_scaling", "partial_rotary_factor"}) {
    out.erase(name);
  }
}

}  // namespace

void write_config_extras(
    const ModelSpec& spec,
    const Family& family,
    Json& out) {
  if (family.shared_kv_layers) {
    write_shared_layers(spec, family.gate_sparsity, out);
  }
  if (family.full_head_dim) {
    write_two_heads(spec, out);
  }
  if (family.per_layer_embedding) {
    out["hidden_size_per_layer_input"] = spec.per_layer_embedding.value_or(0);
    out["vocab_size_per_layer_input"] =
        spec.per_layer_vocab.value_or(spec.vocab);
  }
  if (spec.streams) {
    out["altup_num_inputs"] = spec.streams->count;
    out["altup_active_idx"] = spec.streams->active;
    // Of training alone, but mlx-lm asks for it.
    out["altup_coef_clip"] = 120.0;
    out["altup_correct_scale"] = spec.streams->scale_corrected;
  }
  if (family.gate_sparsity) {
    Json shares = Json::array();
    for (const LayerSpec& layer : spec.layers) {
      const float share = layer.feed_forward->gate_sparsity.value_or(0.0f);
      shares.push_back(std::stod(fmt::format("{:.5f}", share)));
    }
    out["activation_sparsity_pattern"] = shares;
  }
  if (spec.layers.front().low_rank_twin) {
    out["laurel_rank"] = *spec.layers.front().low_rank_twin;
  }
}

}  // namespace roofline
