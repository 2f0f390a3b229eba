// The element-wise work between the matrix products, one row (one token) at a
// time, in float32: norms, rotary positions, activations, sums, conversions.
// Nothing here allocates or uses threads; the caller cuts the work.
#pragma once

#include <cstdint>

#include "roofline/base/cpu_features.h"
#include "roofline/kernels/simd/half.h"
#include "roofline/spec/model_spec.h"

namespace roofline {

/// One instruction set's functions. Sizes are in elements; n may be anything.
struct RowKernels {
  const char* name;
  /// out = x / √(mean(x²) + eps) ∘ weight. out may be x.
  void (*rms_norm)(
      const float* x,
      const float* weight,
      float eps,
      int n,
      float* out);
  /// out = (x - mean) / √(variance + eps) ∘ weight + bias. weight and bias may
  /// be null; out may be x.
  void (*layer_norm)(
      const float* x,
      const float* weight,
      const float* bias,
      float eps,
      int n,
      float* out);
  /// Rotates the first rotated_dims of each head in place. cos and sin as
  /// fill_rope_row leaves them.
  void (*rope)(
      float* x,
      int heads,
      int head_dim,
      int rotated_dims,
      RopeLayout layout,
      const float* cos,
      const float* sin);
  /// out = act(gate) ∘ up; without up: act(gate). out may be gate.
  void (*activate)(
      Activation activation,
      const float* gate,
      const float* up,
      int n,
      float* out);
  /// x += scale · y
  void (*add)(float* x, const float* y, float scale, int n);
  /// x := scale · x, then cap · tanh(x / cap) when cap is not zero.
  void (*scale_and_cap)(float* x, float scale, float cap, int n);
  /// Rounds to nearest.
  void (*to_half)(const float* x, int n, Half* out);
};

/// The variant for active_isa().
const RowKernels& row_kernels();
/// A given variant; nullptr when this build has none.
const RowKernels* row_kernels(Isa isa);

/// Writes the cosines and sines of one position, [rotated_dims] each, as the
/// kernels read them. half_split: the first half is used. interleaved: one
/// value a dim, the sine negative at even dims. Magnitude is multiplied in.
void fill_rope_row(
    const RopeRegime& regime,
    RopeLayout layout,
    std::int64_t position,
    float* cos,
    float* sin);

}  // namespace roofline
