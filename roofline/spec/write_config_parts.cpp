#include "roofline/spec/write_config_parts.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/spec/rope.h"

namespace roofline {

namespace {

using Json = nlohmann::json;

void write(Json& out, std::string_view field, const Json& value) {
  if (!field.empty()) {
    out[std::string(field)] = value;
  }
}

/// A float32 as the decimal it was written as, not as its double.
double shortest(float value) {
  return std::stod(fmt::format("{}", value));
}

/// Under both names where there are two.
void write_named(
    Json& out,
    const std::array<std::string_view, 2>& names,
    const Json& value) {
  for (const std::string_view name : names) {
    write(out, name, value);
  }
}

/// What the family does anyway, in the words of its first files.
void write_fixed(const MixtureRule& rule, Json& out) {
  for (const FixedField& field : rule.fixed) {
    const std::string text(field.value.substr(0, field.value.find('|')));
    const Json parsed = Json::parse(text, nullptr, false);
    write(out, field.name, parsed.is_discarded() ? Json(text) : parsed);
  }
}

void write_groups(const MixtureRule& rule, const MixtureSpec& m, Json& out) {
  if (rule.groups == 0) {
    return;
  }
  out["n_group"] = m.groups;
  out["topk_group"] = m.top_groups;
  if (rule.groups_by_method) {
    out["topk_method"] = m.groups > 1 ? "group_limited_greedy" : "greedy";
  }
}

void write_mixed_layers(
    const MixtureRule& rule,
    const std::vector<bool>& mixed,
    Json& out) {
  const auto first = std::find(mixed.begin(), mixed.end(), true);
  const auto last = std::find(mixed.rbegin(), mixed.rend(), true);
  const auto before = first - mixed.begin();
  if (rule.layers == ExpertLayers::past_first) {
    write(out, rule.first_layer_field, before);
  } else if (rule.layers == ExpertLayers::between) {
    out["moe_layer_start_index"] = before;
    out["moe_layer_end_index"] = mixed.rend() - last - 1;
    out["moe_layer_interval"] = 1;
  } else if (rule.layers == ExpertLayers::stepped) {
    Json dense = Json::array();
    for (std::size_t i = 0; i < mixed.size(); ++i) {
      if (!mixed[i]) {
        dense.push_back(i);
      }
    }
    out["decoder_sparse_step"] = 1;
    out["mlp_only_layers"] = dense;
  }
}

void write_one_mixture(
    const MixtureRule& rule,
    const MixtureSpec& m,
    Json& out) {
  write_fixed(rule, out);
  write(out, rule.enabled_by, true);
  write_named(out, rule.experts_fields, m.experts);
  write_named(out, rule.top_k_fields, m.top_k);
  write(out, rule.hidden_field, m.expert_hidden);
  write_groups(rule, m, out);
  if (rule.renormalise_field) {
    out["norm_topk_prob"] = m.renormalise;
  }
  if (rule.scale) {
    out["routed_scaling_factor"] = shortest(m.scale);
  }
  if (m.score == ExpertScore::sparsemixer) {
    out["router_jitter_noise"] = shortest(m.jitter);
  }
  write(out, rule.selection_bias_field, m.selection_bias);
  if (m.latent_dim) {
    write(out, rule.latent_field, *m.latent_dim);
  }
  if (rule.shared_field == "moe_shared_expert_intermediate_size" &&
      m.shared_hidden > 0) {
    out["n_shared_experts"] = 1;  // mlx-lm has none without it
  }
  write(
      out,
      rule.shared_field,
      rule.shared == SharedExpert::counted ? m.shared_hidden / m.expert_hidden
                                           : m.shared_hidden);
}

/// What a list calls a layer.
const char* layer_kind(const LayerSpec& layer, const RecurrentRule& rule) {
  const bool mamba = rule.kind == RecurrentKind::mamba2;
  if (layer.recurrent) {
    return mamba                                    ? "mamba"
           : rule.kind == RecurrentKind::short_conv ? "conv"
                                                    : "linear_attention";
  }
  if (layer.attention) {
    return mamba ? "attention" : "full_attention";
  }
  return layer.feed_forward && layer.feed_forward->mixture ? "moe" : "mlp";
}

void write_layer_kinds(
    const ModelSpec& spec,
    const RecurrentRule& rule,
    Json& out) {
  Json kinds = Json::array();
  for (const LayerSpec& layer : spec.layers) {
    kinds.push_back(layer_kind(layer, rule));
  }
  if (rule.layers == MixerLayers::listed) {
    out["layer_types"] = kinds;
  } else if (rule.layers == MixerLayers::one_part) {
    out["layers_block_type"] = kinds;
  }
}

void write_recurrence(
    const RecurrentRule& rule,
    const RecurrentSpec& r,
    int dim,
    Json& out) {
  write(out, rule.conv_width.name, r.conv_width);
  write(out, rule.conv_bias.name, r.conv_bias);
  write(out, rule.input_bias.name, r.input_bias);
  write(out, rule.output_bias.name, r.output_bias);
  if (r.kind == RecurrentKind::short_conv) {
    return;
  }
  const int inner = r.heads * r.head_dim;
  write(out, rule.heads.name, r.heads);
  write(out, rule.head_dim.name, r.head_dim);
  write(out, rule.groups.name, r.key_heads);
  write(out, rule.state_dim.name, r.state_dim);
  write(out, rule.inner_field, inner);
  if (inner % dim == 0) {
    write(out, rule.expand.name, inner / dim);
  }
  if (rule.output_norm) {
    write(out, rule.output_norm->name, r.output_norm);
  }
  if (rule.norm_before_gate) {
    write(out, rule.norm_before_gate->name, !r.gate_before_norm);
  }
}

Json scaling_in(const Json& gguf, std::string_view name) {
  const std::string architecture =
      gguf.value("general.architecture", std::string());
  return gguf.value(
      fmt::format("{}.rope.scaling.{}", architecture, name),
      Json());
}

/// The usual one is 1 + 0.1·ln(factor).
void write_magnitude(const RopeSpec& rope, Json& yarn) {
  const double factor = yarn["factor"].get<double>();
  const double usual = factor <= 1 ? 1.0 : 0.1 * std::log(factor) + 1.0;
  const float own = rope.regimes[0].magnitude;
  if (std::abs(own / usual - 1) > 1e-5) {
    yarn["attention_factor"] = shortest(own);
    if (std::abs(own - 1) < 1e-5f) {
      // The same in a way that mlx-lm reads.
      yarn["mscale"] = 1.0;
      yarn["mscale_all_dim"] = 1.0;
    }
  }
}

/// A latent's scores are scaled by the square of what mscale_all_dim says.
void write_latent_magnitude(const Json& gguf, Json& yarn) {
  const Json tenth = scaling_in(gguf, "yarn_log_multiplier");
  const double all = tenth.is_number() && tenth != 0.0
                         ? std::round(tenth.get<double>() * 1e7) / 1e6
                         : 1.0;
  yarn["mscale"] = all;
  yarn["mscale_all_dim"] = all;
}

void write_yarn(
    const RopeSpec& rope,
    const Json& gguf,
    const Family& family,
    Json& out) {
  Json yarn = {{"rope_type", "yarn"}, {"factor", scaling_in(gguf, "factor")}};
  const Json original = scaling_in(gguf, "original_context_length");
  if (!original.is_null()) {
    yarn["original_max_position_embeddings"] = original;
  }
  for (const auto& [theirs, ours] :
       {std::pair{"yarn_beta_fast", "beta_fast"},
        std::pair{"yarn_beta_slow", "beta_slow"}}) {
    if (const Json beta = scaling_in(gguf, theirs); !beta.is_null()) {
      yarn[ours] = beta;
    }
  }
  if (!family.gguf_yarn_truncate) {
    yarn["truncate"] = false;
  }
  if (family.latent) {
    write_latent_magnitude(gguf, yarn);
  } else if (yarn["factor"].is_number()) {
    write_magnitude(rope, yarn);
  }
  out["rope_scaling"] = yarn;
}

/// Llama 3's scaling, the one that files hold as a list: a pair that turns s
/// of the way between the two bounds has 1/divisor = (1 − s)/factor + s, where
/// s = (context/wavelength − low)/(high − low). Only the bounds' ratio shows:
/// the lower one is taken as 1, as in all its models. Checked by reading back.
Json llama3_scaling(const RopeSpec& rope, const std::vector<float>& divisors) {
  const double factor = *std::max_element(divisors.begin(), divisors.end());
  double context = 8192;
  double high = 4;
  std::vector<std::pair<double, double>> between;  // turns per token, s
  for (std::size_t i = 0; i < divisors.size(); ++i) {
    const double share =
        (1.0 / divisors[i] - 1.0 / factor) / (1.0 - 1.0 / factor);
    if (share > 1e-3 && share < 1 - 1e-3) {
      const double turns = std::pow(
          rope.theta,
          -2.0 * static_cast<double>(i) / rope.rotated_dims);
      between.emplace_back(turns / (2 * M_PI), share);
    }
  }
  if (between.size() > 1) {
    const auto [x, s] = between.front();
    const auto [x2, s2] = between.back();
    const double slope = (s - s2) / (x - x2);
    const double base = slope * x - s;
    context = std::round(slope / base);
    high = std::round((1 + 1 / base) * 100) / 100;
  } else if (between.size() == 1) {
    const auto [x, s] = between.front();
    context = std::round((s * (high - 1) + 1) / x);
  }
  return {
      {"rope_type", "llama3"},
      {"factor", std::round(factor)},
      {"low_freq_factor", 1.0},
      {"high_freq_factor", high},
      {"original_max_position_embeddings", static_cast<std::int64_t>(context)}};
}

}  // namespace

nlohmann::json neutral_factors() {
  Json out;
  for (const char* name :
       {"attention_in_multiplier",
        "attention_out_multiplier",
        "embedding_multiplier",
        "key_multiplier",
        "lm_head_multiplier",
        "ssm_in_multiplier",
        "ssm_out_multiplier"}) {
    out[name] = 1.0;
  }
  out["mlp_multipliers"] = std::vector<double>(2, 1.0);
  out["ssm_multipliers"] = std::vector<double>(5, 1.0);
  return out;
}

void write_config_mixture(
    const ModelSpec& spec,
    const Family& family,
    Json& out) {
  std::vector<bool> mixed;
  const MixtureSpec* found = nullptr;
  const std::string hidden(family.names.hidden);
  for (const LayerSpec& layer : spec.layers) {
    const auto* own = layer.feed_forward && layer.feed_forward->mixture
                          ? &*layer.feed_forward->mixture
                          : nullptr;
    mixed.push_back(own != nullptr);
    found = found == nullptr ? own : found;
    if (own == nullptr && layer.feed_forward) {
      out[hidden] = layer.feed_forward->hidden;
    }
  }
  if (found == nullptr) {
    if (family.mixture) {
      write(out, family.mixture->experts_fields[0], 0);
      write(out, family.mixture->top_k_fields[0], 1);
    }
    return;
  }
  if (!family.mixture) {
    fail<UnsupportedError>(
        "Can't write a config.json for this GGUF file",
        "It has experts, and its family has none",
        "Take the model's own folder");
  }
  if (out[hidden] == 0) {
    out[hidden] = found->expert_hidden;
  }
  write_one_mixture(*family.mixture, *found, out);
  write_mixed_layers(*family.mixture, mixed, out);
}

void write_config_recurrent(
    const ModelSpec& spec,
    const Family& family,
    Json& out) {
  if (!family.recurrent) {
    return;
  }
  const RecurrentRule& rule = *family.recurrent;
  const auto recurrent = std::find_if(
      spec.layers.begin(),
      spec.layers.end(),
      [](const LayerSpec& layer) { return layer.recurrent.has_value(); });
  if (recurrent != spec.layers.end()) {
    write_recurrence(rule, *recurrent->recurrent, spec.dim, out);
  }
  write_layer_kinds(spec, rule, out);
  if (rule.part_multipliers) {
    // The factors are in the file's weights.
    out.update(neutral_factors());
  }
  if (rule.adjusted_hidden) {
    out["block_auto_adjust_ff_dim"] = false;
  }
}

void write_config_latent(
    const ModelSpec& spec,
    const Family& family,
    Json& out) {
  if (!family.latent) {
    return;
  }
  const AttentionSpec& attention = *spec.layers.front().attention;
  const LatentSpec& latent = *attention.latent;
  out["q_lora_rank"] = latent.q_rank ? Json(*latent.q_rank) : Json();
  out["kv_lora_rank"] = latent.kv_rank;
  out["qk_nope_head_dim"] = latent.nope_dim;
  out["qk_rope_head_dim"] = latent.rope_dim;
  out["v_head_dim"] = attention.value_dim.value_or(attention.head_dim);
  // The file's one key-value head is the latent.
  out["num_key_value_heads"] = attention.heads;
  if (attention.rope) {
    write(
        out,
        family.latent->field,
        attention.rope->layout == RopeLayout::interleaved);
  }
}

void write_config_scaling(
    const RopeSpec& rope,
    const Json& gguf,
    const Family& family,
    Json& out) {
  if (rope.regimes.size() == 2) {
    out["rope_scaling"] = {
        {"type", "longrope"},
        {"short_factor", rope_divisors(rope, 0)},
        {"long_factor", rope_divisors(rope, 1)},
        {"attention_factor", shortest(rope.regimes[0].magnitude)},
        {"original_max_position_embeddings", rope.regimes[0].max_tokens}};
    out["original_max_position_embeddings"] = rope.regimes[0].max_tokens;
    return;
  }
  const std::vector<float> by = rope_divisors(rope, 0);
  const auto [low, high] = std::minmax_element(by.begin(), by.end());
  if (scaling_in(gguf, "type") == "yarn") {
    write_yarn(rope, gguf, family, out);
  } else if (*high - *low > 1e-4f * *high) {
    out["rope_scaling"] = llama3_scaling(rope, by);
  } else if (*high > 1.0001f) {
    out["rope_scaling"] = {
        {"rope_type", "linear"},
        {"factor", shortest(*high)}};
  } else {
    // A family's own scaling stands for what isn't there.
    out["rope_scaling"] = nullptr;
  }
}

}  // namespace roofline
