// Frequencies of rotary positions for every kind of scaling. In: a recipe, as
// config.json or GGUF describes it, values already checked. Out: a RopeSpec.
// Computed in float32 where the reference implementation does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "roofline/spec/model_spec.h"

namespace roofline {

enum class RopeScaling {
  none,
  linear,
  dynamic,
  llama3,
  yarn,
  longrope,
  proportional,  ///< only the first pairs rotate, as in the whole head
};

struct RopeRecipe {
  RopeScaling scaling = RopeScaling::none;
  double theta = 10000.0;
  /// Rotated dims before an odd number is rounded up.
  int dims = 0;
  RopeLayout layout = RopeLayout::half_split;
  /// Divide the unscaled frequencies one by one; empty: none.
  std::vector<float> divisors;

  double factor = 1.0;
  /// proportional: so many pairs rotate.
  int pairs = 0;
  /// Tokens that the model was first trained for.
  double original_context = 0;
  /// llama3: wavelengths over context/low are scaled, under context/high not.
  double low_frequency_factor = 1.0;
  double high_frequency_factor = 4.0;
  /// yarn: rotations over the original context that bound the ramp.
  double beta_fast = 32.0;
  double beta_slow = 1.0;
  bool truncate = true;
  std::optional<double> mscale;
  std::optional<double> mscale_all_dims;
  /// In place of the magnitude that follows from the kind and its factor.
  std::optional<double> attention_factor;
  /// longrope: [dims / 2]
  std::vector<float> short_factors;
  std::vector<float> long_factors;
  /// longrope: in place of attention_factor, up to the context and past it.
  std::optional<double> short_magnitude;
  std::optional<double> long_magnitude;
};

/// Needs theta > 1, dims >= 1, positive factors; dims > 2 for dynamic.
RopeSpec make_rope(const RopeRecipe& recipe);

/// theta^(−2i/dims) for i < ⌈dims / 2⌉.
std::vector<float> base_frequencies(float theta, int dims);

/// What a regime divides the unscaled frequencies by, one a pair.
std::vector<float> rope_divisors(const RopeSpec& rope, std::size_t regime);

/// The rope of the first layer with (or without) a window; nullptr: there is
/// none.
const RopeSpec* rope_where(const ModelSpec& spec, bool window);

}  // namespace roofline
