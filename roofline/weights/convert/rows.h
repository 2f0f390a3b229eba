// A tensor on its way from one layout to another: a name, a shape, and where
// its rows come from. Nothing is read before rows() is called, and then only
// the rows that are asked for, so that renaming, splitting and stacking cost
// nothing and no tensor needs to be in memory whole.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <mlx/array.h>
#include <mlx/stream.h>

#include "roofline/weights/safetensors.h"

namespace roofline {

/// A form that mx::quantize has.
struct MlxForm {
  int bits = 4;
  int group_size = 64;
  std::string mode = "affine";  ///< affine, mxfp4, nvfp4, mxfp8

  bool operator==(const MlxForm&) const = default;
  bool has_biases() const { return mode == "affine"; }
};

/// Rows that the source holds in a form of MLX's: read(first, count) gives
/// codes, scales and, for affine, biases.
struct PackedPiece {
  MlxForm form;
  mlx::core::Dtype dtype = mlx::core::float16;  ///< of affine scales
  std::function<std::vector<mlx::core::array>(
      std::int64_t first,
      std::int64_t count,
      mlx::core::Stream)>
      read;
};

/// Rows that one source has: read(first, count) gives [count, cols].
struct RowPiece {
  std::int64_t rows = 0;
  std::function<mlx::core::array(
      std::int64_t first,
      std::int64_t count,
      mlx::core::Stream)>
      read;
  std::optional<PackedPiece> packed = {};
};

/// Floats, as they are read. All axes but the last count as rows; a vector is
/// one row.
struct RowTensor {
  std::string name;  ///< ".weight" included
  std::vector<std::int64_t> shape;
  mlx::core::Dtype dtype = mlx::core::float32;  ///< of what is read
  /// That of the source, where what is read is finer.
  std::optional<mlx::core::Dtype> source_dtype = {};
  std::vector<RowPiece> pieces;
  /// Its rows or columns lie in another order than the source's.
  bool rearranged = false;
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
  /// The form that all rows are held in; null where there is none, as after
  /// any change of values or columns.
  const PackedPiece* packed() const;
  /// The rows in that form, not evaluated.
  std::vector<mlx::core::array> read_packed(
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
