// Weight matrices as the CPU kernels read them.
//
// Dense (f32, f16, bf16): row-major, as they lie in the checkpoint; not copied.
// Quantized (q4, q8): rows in blocks of 16, so that one 512-bit register holds
// four successive columns of 16 rows and no sum crosses lanes. For each block
// of rows and each group of 32 columns, in this order:
//   codes   q4: 256 bytes, q8: 512 bytes. Line j (64 bytes) holds row r's four
//           codes at bytes 4r…4r+3: q8 line j has columns 4j…4j+3; q4 line j
//           has columns 8j…8j+3 in the low and 8j+4…8j+7 in the high nibbles.
//   scales  16 × f16
//   biases  16 × f16
// so a row block is one stream of 320 (q4) or 576 (q8) bytes a group. Groups of
// 64 or 128 repeat their scale. w = unit·(scale·code + bias); `unit` is a power
// of two that keeps small scales out of f16's subnormal range.
// Rows are padded to a multiple of 16 with zero scales and biases.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "roofline/base/thread_pool.h"
#include "roofline/weights/tensor.h"

namespace roofline {

enum class PackedFormat { f32, f16, bf16, q4, q8 };

constexpr int kRowBlock = 16;
constexpr int kGroup = 32;
/// A row block's stream, in bytes a group: codes, then scales, then biases.
constexpr int kQ4Codes = kRowBlock * kGroup / 2;
constexpr int kQ8Codes = kRowBlock * kGroup;
constexpr int kGroupScales = 2 * kRowBlock * 2;
constexpr int kQ4Group = kQ4Codes + kGroupScales;
constexpr int kQ8Group = kQ8Codes + kGroupScales;

struct PackedMatrix {
  PackedFormat format = PackedFormat::f32;
  int rows = 0;
  int cols = 0;
  float unit = 1.0f;
  const std::byte* data = nullptr;

  bool quantized() const {
    return format == PackedFormat::q4 || format == PackedFormat::q8;
  }
  int row_blocks() const { return (rows + kRowBlock - 1) / kRowBlock; }
  int groups() const { return cols / kGroup; }
  int group_bytes() const {
    return format == PackedFormat::q4 ? kQ4Group : kQ8Group;
  }
  /// Where a row block's stream begins (quantized formats).
  const std::byte* block(int index) const {
    return data + std::size_t(index) * std::size_t(groups()) *
                      std::size_t(group_bytes());
  }
  /// Bytes that a reader of the whole matrix moves.
  std::size_t bytes() const;
};

/// Bytes that pack() needs for rows × cols. cols must divide by 32 for q4, q8.
std::size_t packed_bytes(
    PackedFormat format,
    std::int64_t rows,
    std::int64_t cols);

/// Packs the tensors, stacked by rows (they share cols), into out (64-byte
/// aligned, packed_bytes of the sum of rows). Each must have an affine_form
/// that fits format; q4 codes may go into q8. Returns the view of out.
PackedMatrix pack(
    std::span<const Tensor* const> tensors,
    PackedFormat format,
    std::span<std::byte> out,
    ThreadPool& pool);

/// A dense tensor as it lies in its file.
PackedMatrix dense_view(const Tensor& tensor);

/// Decodes one row into out[cols], float32: the embedding lookup.
void read_packed_row(const PackedMatrix& matrix, int row, std::span<float> out);

}  // namespace roofline
