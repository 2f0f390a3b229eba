// A matrix in codes, while it is being made: codes, scales and biases as plain
// arrays; how they become MLX's packed words, and how plain rounding finds
// them.
//   affine:       w = scale·code + bias
//   small floats: w = scale·value(code), value: e2m1 or e4m3
// Scales and biases are already rounded to the type in which they are stored,
// so that codes are chosen for the values that a reader will see.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "roofline/base/each_row.h"
#include "roofline/base/thread_pool.h"
#include "roofline/quantize/format.h"
#include "roofline/weights/tensor.h"

namespace roofline {

/// Float32 values, row-major.
struct FloatMatrix {
  int rows = 0;
  int cols = 0;
  std::vector<float> values;  ///< [rows, cols]

  std::span<float> row(int r) {
    return {values.data() + begin(r), static_cast<std::size_t>(cols)};
  }
  std::span<const float> row(int r) const {
    return {values.data() + begin(r), static_cast<std::size_t>(cols)};
  }

 private:
  std::size_t begin(int r) const {
    return static_cast<std::size_t>(r) * static_cast<std::size_t>(cols);
  }
};

/// Decodes all rows of a tensor.
FloatMatrix read_matrix(const Tensor& tensor, ThreadPool& pool);

/// Decodes rows [first, first + rows).
FloatMatrix read_rows(
    const Tensor& tensor,
    std::int64_t first,
    std::int64_t rows,
    ThreadPool& pool);

struct CodeMatrix {
  MatrixFormat format;
  /// Of scales and biases of affine groups: f16, bf16 or f32.
  Encoding scale_type = Encoding::f16;
  int rows = 0;
  int cols = 0;
  std::vector<std::uint8_t> codes;  ///< [rows, cols]
  std::vector<float> scales;        ///< [rows, groups]
  std::vector<float> biases;        ///< [rows, groups]; zeros in small floats

  int groups() const { return cols / format.group_size; }
  /// Puts more rows of the same columns and format below.
  void append(const CodeMatrix& more);
};

/// An empty one of this shape.
CodeMatrix empty_codes(
    int rows,
    int cols,
    const MatrixFormat& format,
    Encoding scale_type);

/// A value as it is stored in this type.
float rounded(float value, Encoding type);

/// One group's grid: which values its codes stand for.
class GroupGrid {
 public:
  GroupGrid(const MatrixFormat& format, float scale, float bias);
  float value(std::uint8_t code) const;
  /// What isn't a number gets the lowest affine code, or zero.
  std::uint8_t nearest(float wanted) const;
  /// The nearest of each.
  void nearest(std::span<const float> wanted, std::uint8_t* codes) const;
  /// Σ importance·error² of the nearest; importance: empty, or one each.
  double error(std::span<const float> wanted, std::span<const float> importance)
      const;

 private:
  /// The values that small floats can have, not negative, rising; empty:
  /// affine.
  std::span<const float> table_;
  int sign_bit_ = 0;
  float most_ = 0;  ///< largest affine code
  float scale_, bias_, inverse_;
};

GroupGrid grid_of(const CodeMatrix& matrix, int row, int group);

/// Finds scale and bias of one group. importance: weighs each value's squared
/// error; empty: all alike. Without `search` MLX's rule for affine groups (the
/// larger end of the range and zero are exact). With it the range is also
/// tried narrower and, in affine groups, from its lower end on, then least
/// squares follow: the least weighed squared error wins.
enum class RangeSearch { none, narrower };
void fit_group(
    std::span<const float> values,
    std::span<const float> importance,
    const MatrixFormat& format,
    Encoding scale_type,
    RangeSearch search,
    float& scale,
    float& bias);

/// Plain rounding: each group by itself, each value to the nearest.
/// importance: [cols] or empty.
CodeMatrix round_plain(
    const FloatMatrix& weights,
    const MatrixFormat& format,
    Encoding scale_type,
    ThreadPool& pool,
    RangeSearch search = RangeSearch::none,
    std::span<const float> importance = {});

/// The values that the codes stand for.
FloatMatrix decode(const CodeMatrix& matrix, ThreadPool& pool);

/// A matrix as MLX stores it, with its bytes.
struct PackedCodes {
  MatrixFormat format;
  Encoding scale_type = Encoding::f16;
  int rows = 0;
  int cols = 0;
  std::vector<std::byte> words, scales, biases;  ///< biases: affine only

  std::size_t bytes() const {
    return words.size() + scales.size() + biases.size();
  }
};

PackedCodes pack_codes(const CodeMatrix& matrix, ThreadPool& pool);

}  // namespace roofline
