// A checkpoint's tensors as MLX arrays, for the graph of MLX ops. Matrices that
// read the same input are stacked by rows (q, k, v; gate, up), so that a layer
// is a few large products. Codes stay codes: 4 and 8 bit encodings become MLX's
// affine layout, small floats its modes; floats keep their type. What has no
// such form is quantized again to 8 bits, or becomes floats if the activations
// are float32.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <mlx/array.h>

#include "roofline/model/decoder.h"
#include "roofline/model/graph_hooks.h"
#include "roofline/model/graph_parts.h"
#include "roofline/weights/checkpoint.h"

namespace roofline {

/// A matrix [out, in], its rows in one or more forms.
struct GraphMatrix {
  std::vector<GraphMatrixPart> parts;
  std::optional<mx::array> bias;         ///< [out], in the activations' type
  std::vector<GraphHookPtr> hooks = {};  ///< one a name, in order of rows
  std::vector<GraphHookPtr> bias_hooks = {};  ///< the same, where there is one
  /// Called by linear() with x, before the product.
  std::function<void(const mx::array& x)> observe = {};

  std::size_t bytes() const;
};

/// Told of each product: the names of the matrices, stacked by rows, and what
/// they are multiplied with, [tokens, in]. For calibration.
using LinearObserver =
    std::function<void(std::span<const std::string> names, const mx::array& x)>;

/// The same of products with experts: the names of their stacks
/// ("….experts.gate"), x [rows, in], and the expert of each row [rows].
using ExpertObserver = std::function<void(
    std::span<const std::string> names,
    const mx::array& x,
    const mx::array& ids)>;

/// What reading the tensors depends on.
struct GraphWeightOptions {
  /// float32 also means: scales and decoded weights in float32, where half
  /// floats would round.
  mx::Dtype activations = mx::float32;
  std::optional<QuantizeChoice> quantize;
  /// Prepare the matrices for our own kernels on the CPU, to multiply so;
  /// absent: for MLX's ops on any device.
  std::optional<LinearMode> cpu_kernels = {};
  /// With cpu_kernels: leave those to MLX whose scales the packed form, which
  /// has half floats, would round.
  bool keep_scales = false;
  LinearObserver observe = {};
  ExpertObserver observe_experts = {};
  /// Names of weights that are to be trained: they come as float32, and stand
  /// in their hooks alone.
  std::function<bool(std::string_view)> trained = {};
  /// Codes of weights whose scales are to be trained, null for others: they
  /// stand in their hooks alone, with scales and offsets of zero.
  std::function<std::shared_ptr<const TrainedCodes>(std::string_view)> codes =
      {};
};

/// The type that a graph on a GPU should calculate in: the one that most bytes
/// of the matrices are stored in (half floats for GGUF's block types).
mx::Dtype stored_dtype(const Checkpoint& checkpoint);

/// MLX's ops have no form for the tensor's codes: it gets codes of 8 bits,
/// unless floats are asked for.
bool requantized_in_graph(const Tensor& tensor);

class GraphWeights {
 public:
  GraphWeights(const Checkpoint& checkpoint, const GraphWeightOptions& options);

  /// The named matrices, stacked by rows, with the bias "NAME.bias" of each
  /// that has one (absent biases count as zero if another one is there).
  GraphMatrix matrix(std::span<const std::string> names) const;
  GraphMatrix matrix(const std::string& name) const;
  /// A vector [cols] as float32; nullopt when there is none of that name.
  std::optional<mx::array> vector(const std::string& name) const;
  /// As vector, of all rows: [rows, cols] where there is more than one.
  std::optional<mx::array> values(const std::string& name) const;
  /// The hook of a weight that the graph looks into; null when there is no
  /// weight of that name.
  GraphHookPtr hook(const std::string& name) const;
  /// A hook that only takes additions, for what the graph reads in its own way:
  /// a router, or the stack of experts of this name.
  GraphHookPtr addition_hook(
      const std::string& name,
      int rows,
      int cols,
      int experts = 0) const;
  const GraphHooks& hooks() const { return hooks_; }
  /// Whether the weight stands in its hook as codes.
  bool is_coded(const std::string& name) const {
    return options_.codes && options_.codes(name) != nullptr;
  }
  /// Work between the products runs on our own kernels for the CPU, too.
  bool own_kernels() const { return options_.cpu_kernels.has_value(); }
  const ExpertObserver& expert_observer() const {
    return options_.observe_experts;
  }
  /// All rows of a tensor [rows, cols] as float32.
  mx::array floats(const Tensor& tensor) const;
  /// Tensors stacked by rows, in as few parts as their forms allow, quantized
  /// as their names ask for. names: one for each tensor.
  std::vector<GraphMatrixPart> parts(
      std::span<const Tensor* const> tensors,
      std::span<const std::string> names) const;

  /// The transpose [cols, rows] of a tensor of floats, as a part of the matrix
  /// of this name.
  GraphMatrixPart transposed(const Tensor& tensor, const std::string& name)
      const;

  const Checkpoint& checkpoint() const { return checkpoint_; }
  mx::Dtype activations() const { return options_.activations; }

 private:
  /// Quantized if bits aren't 0, and ready for the kernels in use.
  GraphMatrixPart prepared(GraphMatrixPart part, int cols, int bits) const;
  /// 0: they stay as they are.
  int bits_of(const std::string& name) const;
  GraphMatrixPart quantized(const GraphMatrixPart& part, int cols, int bits)
      const;

  const Checkpoint& checkpoint_;
  GraphWeightOptions options_;
  mutable GraphHooks hooks_;
};

/// x·matrixᵀ + bias. x: [tokens, in]; result [tokens, out] in x's type.
mx::array linear(const mx::array& x, const GraphMatrix& matrix);

/// Rows of the matrix as floats: ids [tokens] → [tokens, cols] of `dtype`.
mx::array take_rows(
    const GraphMatrix& matrix,
    const mx::array& ids,
    mx::Dtype dtype);

}  // namespace roofline
