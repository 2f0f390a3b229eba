// Where training and adapters reach into the graph: each named weight has a
// hook, in which a trained copy can stand for what the checkpoint has, and to
// which low-rank matrices can be added. The graph asks the hooks whenever it is
// built, so that a gradient can be taken with respect to what they hold.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <mlx/array.h>

#include "roofline/kernels/coded_weight.h"

namespace roofline {

namespace mx = mlx::core;

/// y += scale · (x · aᵀ) · bᵀ (LoRA, arXiv 2106.09685).
struct LowRankAddition {
  mx::array a;  ///< [rank, in]; of experts [experts, rank, in]
  mx::array b;  ///< [rows, rank]; of experts [experts, rows, rank]
  float scale = 1.0f;
  /// Training drops so much of x on its way to a.
  float dropout = 0.0f;
  std::uint64_t dropout_seed = 0;
  /// [rows]: the length that each row of w + scale · b · a is given (DoRA,
  /// arXiv 2402.09353). Its length without is a constant to gradients.
  std::optional<mx::array> magnitude = {};
};

/// The weights of a hook as they are stored, without what is added to them.
struct StoredRows {
  /// x [n, in] → x · wᵀ [n, rows]
  std::function<mx::array(const mx::array& x)> times;
  /// Σ w² of each row: [rows] float32.
  std::function<mx::array()> squares;
};

/// Codes that stay, with scales and offsets [rows, groups] that are trained.
struct CodedHook {
  std::shared_ptr<const TrainedCodes> codes;
  mx::array scales, offsets;
};

struct GraphHook {
  int rows = 1;  ///< of a stack of experts: of all
  int cols = 0;
  int experts = 0;                        ///< 0: it is one matrix
  std::optional<mx::array> trained = {};  ///< [rows, cols], or [cols]: float32
  std::optional<CodedHook> coded = {};    ///< the same, decoded where needed
  std::vector<LowRankAddition> additions = {};
  /// [rows]: what x · wᵀ is multiplied with before the additions.
  std::optional<mx::array> row_factors = {};
  StoredRows stored = {};
  /// The graph multiplies with other forms of the weight, made of what
  /// adapted_weight() gives: there is no x of its own to drop anything from.
  bool reshaped = false;
};

using GraphHookPtr = std::shared_ptr<GraphHook>;
using GraphHooks = std::map<std::string, GraphHookPtr, std::less<>>;

/// The places of all that is trained in hooks, so that it can be swapped.
std::vector<mx::array*> trained_arrays(const std::vector<GraphHookPtr>& hooks);

/// What `places` hold while a graph of other values is built.
class SwappedArrays {
 public:
  /// As many values as places.
  SwappedArrays(
      std::vector<mx::array*> places,
      std::span<const mx::array> values);
  ~SwappedArrays();
  SwappedArrays(const SwappedArrays&) = delete;
  SwappedArrays& operator=(const SwappedArrays&) = delete;

 private:
  std::vector<mx::array*> places_;
  std::vector<mx::array> before_;
};

/// The stack of hooked matrices has trained weights instead of stored ones.
bool is_trained(const std::vector<GraphHookPtr>& hooks);

/// [rows, cols] float32, of a hook that has any.
mx::array trained_weight(const GraphHook& hook);

/// Rows of it: ids [tokens] → [tokens, cols].
mx::array trained_rows(const GraphHook& hook, const mx::array& ids);

/// x · wᵀ with the trained weights of a stack, side by side.
mx::array multiply_trained(
    const mx::array& x,
    const std::vector<GraphHookPtr>& hooks);

/// ‖w + scale · b · a‖ of each row, [rows], without the sum ever being there.
mx::array adapted_lengths(const GraphHook& hook, const LowRankAddition& each);

/// Whether training or an adapter makes another weight of the stored one.
bool is_changed(const GraphHook& hook);

/// The weight [rows, cols] with what the hook does to it. stored: float32; a
/// trained one stands in its place.
mx::array adapted_weight(const GraphHookPtr& hook, const mx::array& stored);

/// y = x · wᵀ of a stack, and what its hooks do to it.
mx::array add_additions(
    const mx::array& x,
    const mx::array& y,
    const std::vector<GraphHookPtr>& hooks);

}  // namespace roofline
