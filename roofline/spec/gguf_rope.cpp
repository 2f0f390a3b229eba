#include "roofline/spec/gguf_rope.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/spec/read_gguf_mixture.h"
#include "roofline/spec/rope.h"

namespace roofline {

namespace {

constexpr NumberRange kTheta{1.001, 1e15};
constexpr NumberRange kFactor{0.0, 1e6};

void check_factors(
    const std::optional<std::vector<float>>& factors,
    std::string_view name,
    int dims) {
  if (!factors) {
    return;
  }
  const auto wanted = static_cast<std::size_t>((dims + 1) / 2);
  const bool sound = std::all_of(factors->begin(), factors->end(), [](float f) {
    return f > 1e-6f && f <= 1e30f;  // a pair that doesn't rotate has 1e30
  });
  if (factors->size() != wanted || !sound) {
    fail<CheckpointError>(
        fmt::format("{} has {} numbers", name, factors->size()),
        fmt::format(
            "There must be {}, one for each rotated pair, all above zero",
            wanted),
        "Check that the file is whole");
  }
}

RopeScaling read_scaling(GgufKeys& keys, double factor) {
  const auto type = keys.fields.text(keys.key("rope.scaling.type"));
  if (!type) {
    // A factor without a kind is linear, as in the first of these files.
    return factor > 0.0 ? RopeScaling::linear : RopeScaling::none;
  }
  if (*type == "none") {
    return RopeScaling::none;
  }
  if (*type == "linear") {
    return RopeScaling::linear;
  }
  if (*type == "yarn") {
    return RopeScaling::yarn;
  }
  if (*type == "longrope" || *type == "su") {
    return RopeScaling::longrope;
  }
  fail<UnsupportedError>(
      fmt::format("{} is {}", keys.key("rope.scaling.type"), shown(*type)),
      "The kinds of scaling known are none, linear, yarn, longrope",
      "");
}

/// yarn's magnitude as llama.cpp has it: that of the paper, or the ratio that
/// yarn_log_multiplier asks for, times attn_factor.
double yarn_magnitude(GgufKeys& keys, double factor, double attention_factor) {
  const auto mscale = [&](double weight) {
    return factor <= 1.0 ? 1.0 : 0.1 * weight * std::log(factor) + 1.0;
  };
  const double log_weight =
      keys.number("rope.scaling.yarn_log_multiplier", kFactor).value_or(0.0);
  const double ratio = log_weight == 0.0 ? 1.0 : mscale(log_weight);
  return attention_factor * mscale(1.0) / ratio;
}

int read_rotated_dims(GgufKeys& keys, int head_dim) {
  const auto dims = keys.integer("rope.dimension_count", {2, kMaxHeadDim});
  const auto rotated = static_cast<int>(dims.value_or(head_dim));
  if (rotated > head_dim || rotated % 2 != 0) {
    fail<CheckpointError>(
        fmt::format("{} is {}", keys.key("rope.dimension_count"), rotated),
        fmt::format("It must be even and at most {}", head_dim),
        "Check that the file is whole");
  }
  return rotated;
}

void read_yarn(GgufKeys& keys, RopeRecipe& recipe, double attention_factor) {
  const NumberRange turns{1e-6, 1e6};
  recipe.beta_fast =
      keys.number("rope.scaling.yarn_beta_fast", turns).value_or(32.0);
  recipe.beta_slow =
      keys.number("rope.scaling.yarn_beta_slow", turns).value_or(1.0);
  const auto extrapolation =
      keys.number("rope.scaling.yarn_ext_factor", kMultiplier);
  if (extrapolation && *extrapolation >= 0.0 && *extrapolation != 1.0) {
    fail<UnsupportedError>(
        fmt::format(
            "{} is {}",
            keys.key("rope.scaling.yarn_ext_factor"),
            *extrapolation),
        "Only full extrapolation, 1, is known",
        "");
  }
  recipe.attention_factor =
      yarn_magnitude(keys, recipe.factor, attention_factor);
}

RopeRecipe read_recipe(
    GgufKeys& keys,
    const Family& family,
    int head_dim,
    std::int64_t context_tokens,
    const GgufRopeFactors& tensors) {
  RopeRecipe recipe;
  recipe.layout = family.gguf_rope_layout.value_or(family.rope_layout);
  recipe.theta = keys.number("rope.freq_base", kTheta).value_or(10000.0);
  recipe.dims = read_rotated_dims(keys, head_dim);
  check_factors(tensors.factors, "rope_freqs", recipe.dims);
  check_factors(tensors.long_factors, "rope_factors_long", recipe.dims);
  check_factors(tensors.short_factors, "rope_factors_short", recipe.dims);
  recipe.divisors = tensors.factors.value_or(std::vector<float>{});
  double factor = keys.number("rope.scaling.factor", kFactor).value_or(0.0);
  if (factor == 0.0) {
    factor = keys.number("rope.scale_linear", kFactor).value_or(0.0);
  }
  recipe.scaling = read_scaling(keys, factor);
  recipe.factor = factor == 0.0 ? 1.0 : factor;
  recipe.original_context = static_cast<double>(
      keys.integer("rope.scaling.original_context_length", {2, kMaxContext})
          .value_or(std::max<std::int64_t>(context_tokens, 2)));
  const auto magnitude = keys.number("rope.scaling.attn_factor", kFactor);
  recipe.attention_factor = magnitude;
  if (recipe.scaling == RopeScaling::yarn) {
    recipe.truncate = family.gguf_yarn_truncate;
    read_yarn(keys, recipe, magnitude.value_or(1.0));
    if (family.latent && gguf_latent_has_mscale(keys)) {
      recipe.attention_factor = 1.0;  // it is in the scores' scale
    }
  }
  // Phi's files name no kind: the two tensors tell.
  if (tensors.long_factors && tensors.short_factors) {
    recipe.scaling = RopeScaling::longrope;
    recipe.long_factors = *tensors.long_factors;
    recipe.short_factors = *tensors.short_factors;
    recipe.factor =
        static_cast<double>(context_tokens) / recipe.original_context;
  } else if (recipe.scaling == RopeScaling::longrope) {
    fail<CheckpointError>(
        fmt::format("{} is longrope", keys.key("rope.scaling.type")),
        "The tensors rope_factors_long and rope_factors_short are missing",
        "Check that the file is whole");
  }
  return recipe;
}

/// Sliding layers with a base of their own are not scaled.
RopeRecipe local_recipe(
    GgufKeys& keys,
    const Family& family,
    int head_dim,
    const RopeRecipe& global) {
  const auto theta = keys.number("rope.freq_base_swa", kTheta);
  RopeRecipe local = global;
  if (family.full_head_dim) {
    local.divisors.clear();
    const auto dims =
        keys.integer("rope.dimension_count_swa", {2, kMaxHeadDim});
    local.dims = static_cast<int>(dims.value_or(head_dim));
    if (local.dims > head_dim || local.dims % 2 != 0) {
      keys.fields.refuse(
          keys.key("rope.dimension_count_swa"),
          fmt::format("It must be even and at most {}", head_dim));
    }
  }
  if (family.local_rope_theta) {
    local.scaling = RopeScaling::none;
    local.attention_factor.reset();
    local.divisors.clear();
    local.theta = family.gguf_local_theta_is_global ? global.theta
                                                    : *family.local_rope_theta;
  }
  local.theta = theta.value_or(local.theta);
  return local;
}

std::optional<QueryTemperature> read_temperature(
    GgufKeys& keys,
    const Family& family,
    const RopeRecipe& recipe) {
  if (!family.query_temperature) {
    return std::nullopt;
  }
  const auto beta = keys.number("attention.temperature_scale", kFactor);
  const auto tokens =
      keys.integer("attention.temperature_length", {1, kMaxContext});
  if (!beta || *beta == 0.0) {
    return std::nullopt;
  }
  const auto original = static_cast<std::int64_t>(recipe.original_context);
  return QueryTemperature{static_cast<float>(*beta), tokens.value_or(original)};
}

}  // namespace

LayerRopes read_gguf_ropes(
    GgufKeys& keys,
    const Family& family,
    HeadDims head_dims,
    std::int64_t context_tokens,
    const GgufRopeFactors& tensors) {
  const RopeRecipe global =
      read_recipe(keys, family, head_dims.full, context_tokens, tensors);
  return {
      make_rope(global),
      make_rope(local_recipe(keys, family, head_dims.sliding, global)),
      read_temperature(keys, family, global)};
}

}  // namespace roofline
