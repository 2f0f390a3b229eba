// Weight matrices as the CPU kernels read them.
//
// Dense (f32, f16, bf16): row-major, as they lie in the checkpoint; not copied.
// Quantized: rows in blocks of 16, so that one 512-bit register holds four
// successive columns of 16 rows and no sum crosses lanes. For each block of
// rows and each group of 32 columns, in this order:
//   codes   4 bits: 256 bytes, 8 bits: 512 bytes. Line j (64 bytes) holds row
//           r's four codes at bytes 4r…4r+3: in 8 bits line j has columns
//           4j…4j+3; in 4 bits it has columns 8j…8j+3 in the low and
//           8j+4…8j+7 in the high nibbles.
//   scales  16 × f16
//   biases  16 × f16
// w = unit·(scale·value(code) + bias); `unit` is a power of two that keeps
// small scales out of f16's subnormal range. The formats differ in the bits,
// in what a code's value is, and in how many columns share a scale:
//   q4        the code; 32 columns; 320 bytes a group
//   q8        the code; 32 columns; 576 bytes
//   q4_table  a table's entry for the code; 32 columns; 320 bytes
//   q4_16     a table's entry; 16 columns: scales and biases of the first 16,
//             then those of the others; 384 bytes
//   q8_16     the code; 16 columns; 640 bytes
// Larger groups repeat their scale. Rows are padded to a multiple of 16 with
// zero scales and biases.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "roofline/base/thread_pool.h"
#include "roofline/weights/encodings.h"
#include "roofline/weights/tensor.h"

namespace roofline {

enum class PackedFormat { f32, f16, bf16, q4, q8, q4_table, q4_16, q8_16 };

constexpr int kRowBlock = 16;
constexpr int kGroup = 32;
/// A row block's stream, in bytes a group: codes, then scales, then biases.
constexpr int kQ4Codes = kRowBlock * kGroup / 2;
constexpr int kQ8Codes = kRowBlock * kGroup;
constexpr int kGroupScales = 2 * kRowBlock * 2;
constexpr int kQ4Group = kQ4Codes + kGroupScales;
constexpr int kQ8Group = kQ8Codes + kGroupScales;

constexpr bool is_quantized(PackedFormat format) {
  return format >= PackedFormat::q4;
}
/// Two codes a byte.
constexpr bool has_nibbles(PackedFormat format) {
  return format == PackedFormat::q4 || format == PackedFormat::q4_table ||
         format == PackedFormat::q4_16;
}
/// Codes are places in a table.
constexpr bool has_table(PackedFormat format) {
  return format == PackedFormat::q4_table || format == PackedFormat::q4_16;
}
/// How often a row has scale and bias in a group of 32 columns.
constexpr int scale_sets(PackedFormat format) {
  return format == PackedFormat::q4_16 || format == PackedFormat::q8_16 ? 2 : 1;
}
constexpr int code_bytes(PackedFormat format) {
  return has_nibbles(format) ? kQ4Codes : kQ8Codes;
}
constexpr int group_bytes(PackedFormat format) {
  return code_bytes(format) + scale_sets(format) * kGroupScales;
}

/// The table by which a code is its own value.
constexpr CodeTable kOwnValues =
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

struct PackedMatrix {
  PackedFormat format = PackedFormat::f32;
  int rows = 0;
  int cols = 0;
  float unit = 1.0f;
  const std::byte* data = nullptr;
  CodeTable table = kOwnValues;  ///< for the formats that have one

  bool quantized() const { return is_quantized(format); }
  int row_blocks() const { return (rows + kRowBlock - 1) / kRowBlock; }
  int groups() const { return cols / kGroup; }
  int code_bytes() const { return roofline::code_bytes(format); }
  int group_bytes() const { return roofline::group_bytes(format); }
  /// Where a row block's stream begins (quantized formats).
  const std::byte* block(int index) const {
    return data + std::size_t(index) * std::size_t(groups()) *
                      std::size_t(group_bytes());
  }
  /// Bytes that a reader of the whole matrix moves.
  std::size_t bytes() const;
};

/// "q4", "q8/16", …: for people.
std::string_view format_name(PackedFormat format);

/// The format that holds codes of this form without loss.
PackedFormat packed_format(const CodeForm& form);

/// Bytes that pack() needs for rows × cols. cols must divide by 32 where it
/// is quantized.
std::size_t packed_bytes(
    PackedFormat format,
    std::int64_t rows,
    std::int64_t cols);

/// Packs the tensors, stacked by rows (they share cols), into out (64-byte
/// aligned, packed_bytes of the sum of rows). Each must have a code_form that
/// fits format, all with one table; q4 codes may go into q8. Returns the view
/// of out.
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
