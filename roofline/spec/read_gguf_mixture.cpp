#include "roofline/spec/read_gguf_mixture.h"

#include <cmath>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/spec/read_mixture.h"

namespace roofline {

namespace {

constexpr IntRange kExperts{0, 1 << 16};

/// Mixtral's, whose files are of architecture "llama".
constexpr MixtureRule kPlain = {};

ExpertScore read_score(GgufKeys& keys, const MixtureRule& rule) {
  const auto score = keys.integer("expert_gating_func", {0, 255});
  switch (score.value_or(0)) {
    case 0:
      return rule.score;
    case 1:
    case 3:  // a softmax over the chosen: the same, renormalised
      return rule.score == ExpertScore::sparsemixer ? rule.score
                                                    : ExpertScore::softmax;
    case 2:
      return ExpertScore::sigmoid;
    default:
      fail<UnsupportedError>(
          fmt::format("{} is {}", keys.key("expert_gating_func"), *score),
          "Known are 1 (softmax), 2 (sigmoid) and 3 (softmax of the chosen)",
          "");
  }
}

/// One number for all layers, or the first of a list of equal ones.
std::optional<int> read_width(
    GgufKeys& keys,
    std::string_view name,
    std::size_t layers) {
  const auto listed = keys.per_layer(name, {0, kMaxDim}, layers);
  if (!listed) {
    return std::nullopt;
  }
  for (const int width : *listed) {
    if (width > 0) {
      return width;
    }
  }
  return 0;
}

int read_shared(GgufKeys& keys, const MixtureSpec& m, std::size_t layers) {
  const auto count = keys.integer("expert_shared_count", {0, 64});
  const auto width =
      read_width(keys, "expert_shared_feed_forward_length", layers);
  if (width.value_or(0) > 0) {
    return *width;
  }
  if (count.value_or(0) > 0 && *count * m.expert_hidden <= kMaxDim) {
    return static_cast<int>(*count) * m.expert_hidden;
  }
  return count ? 0 : width.value_or(0);
}

MixtureSpec read_mixture(
    GgufKeys& keys,
    const Family& family,
    const ModelSpec& spec) {
  const MixtureRule& rule = family.mixture ? *family.mixture : kPlain;
  const std::size_t layers = spec.layers.size();
  MixtureSpec m;
  m.experts =
      static_cast<int>(keys.integer("expert_count", kExperts).value_or(0));
  m.top_k =
      static_cast<int>(keys.integer("expert_used_count", kExperts).value_or(0));
  m.expert_hidden = read_width(keys, "expert_feed_forward_length", layers)
                        .value_or(spec.layers[0].feed_forward->hidden);
  m.score = read_score(keys, rule);
  m.renormalise =
      keys.fields.flag(keys.key("expert_weights_norm"))
          .value_or(rule.gguf_renormalise.value_or(rule.renormalise));
  m.least_sum = rule.least_sum;
  m.router_norm = rule.router_norm;
  m.expert_scale = rule.expert_scale;
  const double scale =
      keys.number("expert_weights_scale", {-1e6, 1e6}).value_or(0.0);
  m.scale = static_cast<float>(scale == 0.0 ? 1.0 : scale);
  const auto groups = keys.integer("expert_group_count", {0, 1 << 16});
  const auto used = keys.integer("expert_group_used_count", {0, 1 << 16});
  if (groups.value_or(0) > 1) {
    m.groups = static_cast<int>(*groups);
    m.top_groups = static_cast<int>(used.value_or(*groups));
    m.group_score = m.score == ExpertScore::sigmoid ? GroupScore::sum_of_best_2
                                                    : GroupScore::best;
  }
  m.shared_hidden = read_shared(keys, m, layers);
  m.shared_gate = rule.shared_gate && m.shared_hidden > 0;
  if (!rule.latent_field.empty()) {
    const auto dims = keys.integer("moe_latent_size", kDims);
    m.latent_dim = dims ? std::optional(static_cast<int>(*dims)) : std::nullopt;
  }
  return m;
}

}  // namespace

void read_gguf_mixtures(GgufKeys& keys, const Family& family, ModelSpec& spec) {
  const IntRange layers{0, kMaxLayers};
  const auto dense = keys.integer("leading_dense_block_count", layers);
  const auto step = keys.integer("interleave_moe_layer_step", layers);
  const MixtureSpec mixture = read_mixture(keys, family, spec);
  if (mixture.experts == 0) {
    return;
  }
  check_mixture(keys.fields, mixture);
  for (std::size_t i = 0; i < spec.layers.size(); ++i) {
    const auto at = static_cast<std::int64_t>(i);
    if (at >= dense.value_or(0) &&
        (at + 1) % std::max<std::int64_t>(step.value_or(1), 1) == 0) {
      set_mixture(
          *spec.layers[i].feed_forward,
          family.mixture.value_or(kPlain),
          mixture);
    }
  }
}

void read_gguf_latent(GgufKeys& keys, AttentionSpec& attention) {
  const IntRange dims{1, kMaxHeadDim};
  LatentSpec latent;
  if (const auto rank = keys.integer("attention.q_lora_rank", {0, kMaxDim})) {
    latent.q_rank =
        *rank > 0 ? std::optional(static_cast<int>(*rank)) : std::nullopt;
  }
  latent.kv_rank = keys.size("attention.kv_lora_rank", kMaxDim);
  latent.rope_dim = keys.size("rope.dimension_count", kMaxHeadDim);
  // Older files have the heads' dims here, newer ones the latent's.
  const auto old_key = keys.integer("attention.key_length", kDims);
  const auto old_value = keys.integer("attention.value_length", kDims);
  const auto key = keys.integer("attention.key_length_mla", dims);
  const auto value = keys.integer("attention.value_length_mla", dims);
  const auto head = key ? key : old_key;
  const auto value_dim = value ? value : old_value;
  if (!head || !value_dim || *head < latent.rope_dim || *head > kMaxHeadDim ||
      *value_dim > kMaxHeadDim) {
    keys.fields.refuse(
        keys.key("attention.key_length_mla"),
        fmt::format(
            "A head has {} rotated dims and some more",
            latent.rope_dim));
  }
  latent.nope_dim = static_cast<int>(*head) - latent.rope_dim;
  attention.head_dim = static_cast<int>(*head);
  attention.value_dim = static_cast<int>(*value_dim);
  attention.latent = latent;
}

bool gguf_latent_has_mscale(GgufKeys& keys) {
  const NumberRange range{0.0, 1e6};
  return keys.number("rope.scaling.yarn_log_multiplier", range).value_or(0.0) >
             0.0 &&
         keys.number("rope.scaling.factor", range).value_or(0.0) > 1.0;
}

float gguf_latent_scale_factor(GgufKeys& keys) {
  const NumberRange range{0.0, 1e6};
  const auto type = keys.fields.text(keys.key("rope.scaling.type"));
  double factor = keys.number("rope.scaling.factor", range).value_or(0.0);
  if (factor == 0.0) {
    factor = keys.number("rope.scale_linear", range).value_or(0.0);
  }
  if (factor == 0.0 || type.value_or("linear") == "none") {
    return 1.0f;
  }
  // A tenth of the mscale of all dims.
  const double tenth =
      keys.number("rope.scaling.yarn_log_multiplier", range).value_or(0.0);
  const double mscale =
      gguf_latent_has_mscale(keys)
          ? 1.0 + tenth * std::log(factor)
          : keys.number("rope.scaling.attn_factor", range).value_or(1.0) *
                (1.0 + 0.1 * std::log(factor));
  return static_cast<float>(mscale * mscale);
}

}  // namespace roofline
