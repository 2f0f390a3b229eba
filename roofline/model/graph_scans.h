// The recurrences of recurrent layers over the tokens of one sequence, in
// float32: on the CPU by our own kernels (kernels/recurrent), elsewhere as MLX
// ops, in chunks whose inside is a few matrix products. Heads share keys (B and
// C, or keys and queries) in groups: head h belongs to group h / (heads /
// groups).
#pragma once

#include <mlx/array.h>

namespace roofline {

namespace mx = mlx::core;

struct Scanned {
  mx::array y;       ///< [tokens, heads, head_dim]
  mx::array memory;  ///< after the last token
};

/// Mamba 2 (arXiv 2405.21060): S := exp(step·decay)·S + step·x·bᵀ; y = S·c.
/// x: [tokens, heads, head_dim]; steps: [tokens, heads]; decay: [heads], below
/// 0; b, c: [tokens, groups, state_dim]; memory: [heads, head_dim, state_dim].
Scanned mamba2_scan(
    const mx::array& x,
    const mx::array& steps,
    const mx::array& decay,
    const mx::array& b,
    const mx::array& c,
    const mx::array& memory);

/// The gated delta rule (arXiv 2412.06464): S := exp(log_decay)·S;
/// S := S + k·(beta·(v − kᵀS)); y = qᵀS.
/// q, k: [tokens, groups, key_dim]; v: [tokens, heads, head_dim]; log_decay,
/// beta: [tokens, heads]; memory: [heads, key_dim, head_dim].
Scanned gated_delta_scan(
    const mx::array& q,
    const mx::array& k,
    const mx::array& v,
    const mx::array& log_decay,
    const mx::array& beta,
    const mx::array& memory);

/// The same as MLX ops on any device.
Scanned mamba2_scan_ops(
    const mx::array& x,
    const mx::array& steps,
    const mx::array& decay,
    const mx::array& b,
    const mx::array& c,
    const mx::array& memory);
Scanned gated_delta_scan_ops(
    const mx::array& q,
    const mx::array& k,
    const mx::array& v,
    const mx::array& log_decay,
    const mx::array& beta,
    const mx::array& memory);

}  // namespace roofline
