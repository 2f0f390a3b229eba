#include "roofline/spec/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include <fmt/format.h>

namespace roofline {

namespace {

std::vector<float> divided_frequencies(const RopeRecipe& recipe) {
  std::vector<float> out =
      base_frequencies(static_cast<float>(recipe.theta), recipe.dims);
  for (std::size_t i = 0; i < out.size() && i < recipe.divisors.size(); ++i) {
    out[i] /= recipe.divisors[i];
  }
  return out;
}

/// Llama 3.1: long wavelengths are stretched, short ones kept, those between
/// blended by how many turns they make in the original context.
void scale_llama3(const RopeRecipe& recipe, std::vector<float>& frequencies) {
  const auto context = static_cast<float>(recipe.original_context);
  const auto low = static_cast<float>(recipe.low_frequency_factor);
  const auto high = static_cast<float>(recipe.high_frequency_factor);
  const auto factor = static_cast<float>(recipe.factor);
  const auto longest =
      static_cast<float>(recipe.original_context / recipe.low_frequency_factor);
  const auto shortest = static_cast<float>(
      recipe.original_context / recipe.high_frequency_factor);
  for (float& f : frequencies) {
    const float wavelength = static_cast<float>(2.0 * std::numbers::pi) / f;
    if (wavelength > longest) {
      f /= factor;
    } else if (!(wavelength < shortest)) {
      const float smooth = (context / wavelength - low) / (high - low);
      f = (1.0f - smooth) * f / factor + smooth * f;
    }
  }
}

/// The dim whose frequency makes `turns` turns in the original context.
double yarn_dim(const RopeRecipe& recipe, double turns) {
  return recipe.dims *
         std::log(recipe.original_context / (turns * 2.0 * std::numbers::pi)) /
         (2.0 * std::log(recipe.theta));
}

/// YaRN (Peng et al. 2023): interpolates slow dims, keeps fast ones, and ramps
/// between the dims that make beta_slow and beta_fast turns.
void scale_yarn(const RopeRecipe& recipe, std::vector<float>& frequencies) {
  double low = yarn_dim(recipe, recipe.beta_fast);
  double high = yarn_dim(recipe, recipe.beta_slow);
  if (recipe.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, recipe.dims - 1.0);
  if (low == high) {
    high += 0.001;
  }
  const auto span = static_cast<float>(high - low);
  const auto factor = static_cast<float>(recipe.factor);
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    const float ramp = std::clamp(
        (static_cast<float>(i) - static_cast<float>(low)) / span,
        0.0f,
        1.0f);
    const float keep = 1.0f - ramp;
    const float interpolated = frequencies[i] / factor;
    frequencies[i] = interpolated * (1.0f - keep) + frequencies[i] * keep;
  }
}

double yarn_mscale(double factor, double weight) {
  return factor <= 1.0 ? 1.0 : 0.1 * weight * std::log(factor) + 1.0;
}

float yarn_magnitude(const RopeRecipe& recipe) {
  if (recipe.attention_factor) {
    return static_cast<float>(*recipe.attention_factor);
  }
  const double over = recipe.mscale.value_or(0.0);
  const double under = recipe.mscale_all_dims.value_or(0.0);
  if (over != 0.0 && under != 0.0) {
    return static_cast<float>(
        yarn_mscale(recipe.factor, over) / yarn_mscale(recipe.factor, under));
  }
  return static_cast<float>(yarn_mscale(recipe.factor, 1.0));
}

float longrope_magnitude(const RopeRecipe& recipe) {
  if (recipe.attention_factor) {
    return static_cast<float>(*recipe.attention_factor);
  }
  if (recipe.factor <= 1.0) {
    return 1.0f;
  }
  return static_cast<float>(std::sqrt(
      1.0 + std::log(recipe.factor) / std::log(recipe.original_context)));
}

/// LongRoPE (Ding et al. 2024): each frequency has its own divisor, one set up
/// to the original context and one past it.
std::vector<RopeRegime> longrope_regimes(const RopeRecipe& recipe) {
  const float magnitude = longrope_magnitude(recipe);
  RopeRecipe part = recipe;
  part.divisors = recipe.short_factors;
  const RopeRegime brief{
      divided_frequencies(part),
      static_cast<float>(recipe.short_magnitude.value_or(magnitude)),
      static_cast<std::int64_t>(recipe.original_context)};
  part.divisors = recipe.long_factors;
  const RopeRegime lengthy{
      divided_frequencies(part),
      static_cast<float>(recipe.long_magnitude.value_or(magnitude)),
      INT64_MAX};
  return {brief, lengthy};
}

RopeRegime single_regime(const RopeRecipe& recipe) {
  RopeRegime regime;
  regime.frequencies = divided_frequencies(recipe);
  regime.magnitude = static_cast<float>(recipe.attention_factor.value_or(1.0));
  switch (recipe.scaling) {
    case RopeScaling::linear:
      for (float& f : regime.frequencies) {
        f /= static_cast<float>(recipe.factor);
      }
      break;
    case RopeScaling::llama3:
      scale_llama3(recipe, regime.frequencies);
      break;
    case RopeScaling::yarn:
      scale_yarn(recipe, regime.frequencies);
      regime.magnitude = yarn_magnitude(recipe);
      break;
    case RopeScaling::dynamic:
      regime.max_tokens = static_cast<std::int64_t>(recipe.original_context);
      break;
    case RopeScaling::proportional:
      for (std::size_t i = 0; i < regime.frequencies.size(); ++i) {
        const bool rotates = i < static_cast<std::size_t>(recipe.pairs);
        regime.frequencies[i] =
            rotates ? regime.frequencies[i] / static_cast<float>(recipe.factor)
                    : 0.0f;
      }
      break;
    case RopeScaling::none:
    case RopeScaling::longrope:
      break;
  }
  return regime;
}

std::string in_words(const RopeRecipe& recipe) {
  const double context = recipe.original_context;
  switch (recipe.scaling) {
    case RopeScaling::linear:
      return fmt::format("linear, by {:g}", recipe.factor);
    case RopeScaling::dynamic:
      return fmt::format(
          "dynamic, by {:g} past {:.0f} tokens",
          recipe.factor,
          context);
    case RopeScaling::llama3:
      return fmt::format(
          "llama3, by {:g} from {:.0f} tokens",
          recipe.factor,
          context);
    case RopeScaling::yarn:
      return fmt::format(
          "yarn, by {:g} from {:.0f} tokens",
          recipe.factor,
          context);
    case RopeScaling::longrope:
      return fmt::format("longrope, other factors past {:.0f} tokens", context);
    case RopeScaling::proportional:
      return fmt::format("proportional, the first {} pairs", recipe.pairs);
    case RopeScaling::none:
      break;
  }
  return recipe.divisors.empty() ? "" : "by factors stored with the weights";
}

}  // namespace

std::vector<float> base_frequencies(float theta, int dims) {
  std::vector<float> out;
  for (int i = 0; i < dims; i += 2) {
    const float exponent = static_cast<float>(i) / static_cast<float>(dims);
    // The power rounded once, as a good float32 pow gives it.
    const auto power = static_cast<float>(
        std::pow(static_cast<double>(theta), static_cast<double>(exponent)));
    out.push_back(1.0f / power);
  }
  return out;
}

RopeSpec make_rope(const RopeRecipe& recipe) {
  RopeSpec rope;
  rope.layout = recipe.layout;
  rope.rotated_dims = (recipe.dims + 1) / 2 * 2;
  rope.theta = recipe.theta;
  rope.scaling = in_words(recipe);
  if (recipe.scaling == RopeScaling::longrope) {
    rope.regimes = longrope_regimes(recipe);
    return rope;
  }
  rope.regimes = {single_regime(recipe)};
  if (recipe.scaling == RopeScaling::dynamic) {
    rope.dynamic = RopeSpec::Dynamic{
        static_cast<float>(recipe.theta),
        static_cast<float>(recipe.factor),
        static_cast<std::int64_t>(recipe.original_context)};
  }
  return rope;
}

std::vector<float> rope_divisors(const RopeSpec& rope, std::size_t regime) {
  const std::vector<float> base =
      base_frequencies(static_cast<float>(rope.theta), rope.rotated_dims);
  std::vector<float> out;
  for (std::size_t i = 0; i < base.size(); ++i) {
    out.push_back(base[i] / rope.regimes[regime].frequencies[i]);
  }
  return out;
}

const RopeSpec* rope_where(const ModelSpec& spec, bool window) {
  for (const LayerSpec& layer : spec.layers) {
    if (layer.attention && layer.attention->rope &&
        layer.attention->window_tokens.has_value() == window) {
      return &*layer.attention->rope;
    }
  }
  return nullptr;
}

}  // namespace roofline
