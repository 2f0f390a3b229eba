// Some rows of a matrix in one storage form, as the graph of MLX ops holds
// them, and their products: by MLX's ops, or by our own kernels for the CPU.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include <mlx/array.h>

#include "roofline/kernels/linear.h"
#include "roofline/weights/tensor.h"

namespace roofline {

/// A part as the kernels for the CPU read it, and what owns its bytes.
struct CpuMatrixPart {
  PackedMatrix matrix;
  std::shared_ptr<const void> memory;
  LinearMode mode = LinearMode::fast;
};

/// Some rows of a matrix in one storage form.
struct GraphMatrixPart {
  /// [rows, cols] floats, or [rows, cols·bits/32] u32 codes; nothing where the
  /// codes are in `cpu` alone.
  mx::array weight;
  /// [rows, cols / group_size] each; present when quantized.
  std::optional<mx::array> scales;
  std::optional<mx::array> biases;
  int bits = 0;
  int group_size = 0;
  /// Present when products run on our own kernels.
  std::optional<CpuMatrixPart> cpu = {};
  /// MLX's: modes but "affine" have no biases.
  std::string mode = "affine";

  std::size_t bytes() const;
};

int rows_of(const GraphMatrixPart& part);

/// Readies a part for our kernels: floats are read where they lie; codes are
/// packed, and MLX's copy goes. keep_scales: not where half floats would round
/// the scales.
void prepare_for_cpu(GraphMatrixPart& part, LinearMode mode, bool keep_scales);

/// Codes that MLX has no form for but our kernels do, packed straight from the
/// checkpoint; nullopt for others and when the tensors' forms differ.
std::optional<GraphMatrixPart> pack_sources(
    std::span<const Tensor* const> tensors,
    LinearMode mode);

/// Whether quantized matrices are decoded for so many tokens (step_memory.h).
bool multiplies_densely(int tokens);

/// x·weightᵀ. x: [tokens, in]; result [tokens, rows].
mx::array multiply_part(const mx::array& x, const GraphMatrixPart& part);

/// Rows of a part as floats: ids [tokens] → [tokens, cols] of `dtype`.
mx::array part_rows(
    const GraphMatrixPart& part,
    const mx::array& ids,
    mx::Dtype dtype);

/// A part's weight as floats [rows, cols].
mx::array dense_weight(const GraphMatrixPart& part);

}  // namespace roofline
