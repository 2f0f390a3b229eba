// Matrices of experts as MLX arrays: one stack for what reads the same input,
// and the product of each row of x with the matrix of its own expert.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <mlx/array.h>

#include "roofline/kernels/expert_linear.h"
#include "roofline/model/graph_weights.h"

namespace roofline {

/// Matrices [out, in] of all experts, their rows in one or more forms.
struct GraphExperts {
  /// For MLX's ops: weight [experts, rows, in] floats in the activations' type,
  /// or [experts, rows, in·bits/32] u32 codes; scales, biases to match.
  std::vector<GraphMatrixPart> parts;
  /// For our own kernels on the CPU, in place of the former.
  struct OnCpu {
    std::shared_ptr<const ExpertMatrices> matrices;
    std::shared_ptr<const void> memory;
    LinearMode mode = LinearMode::fast;
  };
  std::vector<OnCpu> on_cpu;
  /// Codes whose scales are trained, in place of both: a hook for the stack, or
  /// one for each expert.
  std::vector<GraphHookPtr> coded = {};
  int experts = 0;  ///< with coded
  /// What reads the same input, in place of all of these, where some is coded.
  std::vector<GraphExperts> each = {};
  std::optional<mx::array> bias;  ///< [experts, out]
  /// Called by expert_linear() before the product.
  std::function<void(const mx::array& x, const mx::array& ids)> observe = {};

  std::size_t bytes() const;
};

/// at: "layers.3.feed_forward.experts.". names: of stacks ("gate", "up"),
/// joined by rows within each expert. transposed: the one stack named lies as
/// [experts, in, out], at "….experts.transposed.". Quantizes at load as
/// GraphWeights::matrix does.
GraphExperts read_experts(
    const GraphWeights& weights,
    const std::string& at,
    const std::vector<std::string>& names,
    int experts,
    bool transposed);

/// x: [rows, in]; ids: [rows] u32, the expert of each; sorted: ids don't fall.
/// Result [rows, out] in x's type.
mx::array expert_linear(
    const mx::array& x,
    const GraphExperts& experts,
    const mx::array& ids,
    bool sorted);

/// y and what the hook of a stack adds to it: y [rows, out] of the stack's own
/// columns, the others as in expert_linear().
mx::array add_expert_additions(
    const mx::array& x,
    const mx::array& y,
    const GraphHook& hook,
    const mx::array& ids);

}  // namespace roofline
