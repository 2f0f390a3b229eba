// A tensor on its way from one layout to another: a name, a shape, and where
// its rows come from. Nothing is read before rows() is called, and then only
// the rows that are asked for, so that renaming, splitting and stacking cost
// nothing and no tensor needs to be in memory whole.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include <mlx/array.h>
#include <mlx/stream.h>

#include "roofline/weights/safetensors.h"

namespace roofline {

/// Rows that one source has: read(first, count) gives [count, cols].
struct RowPiece {
  std::int64_t rows = 0;
  std::function<mlx::core::array(
      std::int64_t first,
      std::int64_t count,
      mlx::core::Stream)>
      read;
};

/// Floats. All axes but the last count as rows; a vector is one row.
struct RowTensor {
  std::string name;  ///< ".weight" included
  std::vector<std::int64_t> shape;
  mlx::core::Dtype dtype = mlx::core::float32;  ///< of what is read
  std::vector<RowPiece> pieces;
  /// Gives back the source's memory.
  std::function<void()> release = {};

  std::int64_t cols() const { return shape.empty() ? 1 : shape.back(); }
  std::int64_t rows() const;
  std::int64_t elements() const { return rows() * cols(); }
  /// [count, cols], not evaluated.
  mlx::core::array read(
      std::int64_t first,
      std::int64_t count,
      mlx::core::Stream stream) const;
  /// The rows [first, first + count) as a piece of another tensor.
  RowPiece part(std::int64_t first, std::int64_t count) const;
};

/// An array of the same bytes: they must outlive it. shape: of what the bytes
/// hold.
mlx::core::array view_bytes(
    std::span<const std::byte> bytes,
    mlx::core::Shape shape,
    mlx::core::Dtype dtype);

/// The tensor that a safetensors entry holds. Throws CheckpointError unless it
/// is F32, F16 or BF16. label: what errors call the checkpoint.
RowTensor rows_of(const SafetensorsEntry& entry, const std::string& label);

/// A tensor whose value is computed as a whole: for small ones that are turned
/// or shifted.
RowTensor computed_rows(
    std::string name,
    std::vector<std::int64_t> shape,
    mlx::core::Dtype dtype,
    std::function<mlx::core::array(mlx::core::Stream)> compute);

}  // namespace roofline
