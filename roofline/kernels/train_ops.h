// Differentiable MLX ops on the CPU that a training step is made of, each on
// our threads and vector kernels: products, low-rank additions, norms,
// activations, dropout. All in float32.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include <mlx/array.h>

#include "roofline/spec/model_spec.h"

namespace roofline {

namespace mx = mlx::core;

enum class Side { plain, transposed };

/// a · b of two matrices, each as it is or transposed.
mx::array product(
    const mx::array& a,
    Side a_side,
    const mx::array& b,
    Side b_side);

/// One low-rank matrix of a stack of rows: b [rows, rank], whose products go
/// to columns [begin, begin + rows) of y.
struct LowRankRows {
  mx::array b;
  int begin = 0;
  float scale = 1.0f;
};

/// y + Σ scale_i · h_i · b_iᵀ at each one's columns. y [tokens, out];
/// h [tokens, Σ rank]: x · aᵀ for all of them, side by side.
mx::array add_low_rank(
    const mx::array& y,
    const mx::array& h,
    const std::vector<LowRankRows>& rows);

/// x / √(mean(x²) + eps) ∘ weight over the last axis.
mx::array rms_norm_rows(
    const mx::array& x,
    const std::optional<mx::array>& weight,
    float eps);

/// x [tokens, 2·hidden] (gate beside up) → act(gate) ∘ up, or without a gate
/// x [tokens, hidden] → act(x). Not for xielu.
mx::array activate_rows(const mx::array& x, Activation activation, bool gated);

/// Zeroes a share of x, drawn from the seed alone, and divides the rest by
/// 1 − share, so that the mean stays. Runs on a GPU too, where it draws others.
mx::array dropout(const mx::array& x, float share, std::uint64_t seed);

}  // namespace roofline
