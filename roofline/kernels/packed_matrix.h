// Weight matrices as the CPU kernels read them.
//
// Dense (f32, f16, bf16): row-major, as they lie in the checkpoint; not copied.
// Quantized: rows in blocks of 16, so that one 512-bit register holds four
// successive columns of 16 rows and no sum crosses lanes. A block is a stream
// of units, each of them
//   scales  64 bytes (128 where two sets with biases serve a group): a set for
//           each so many columns (below), of 16 × f16, one a row, and where
//           there is no offset 16 × f16 biases
//   codes   of the columns that these sets are for: for each group of 32
//           columns 256 bytes in 4 bits, 512 in 8 bits.
//           Line j (64 bytes) holds row r's four codes at bytes 4r…4r+3: in 8
//           bits line j has columns 4j…4j+3; in 4 bits it has columns 8j…8j+3
//           in the low and 8j+4…8j+7 in the high nibbles.
// With an offset (types that count from a middle: Q4_0, Q8_0, Q6_K, MXFP4, …)
//   w = unit·scale·(value(code) − offset)
// and else
//   w = unit·(scale·value(code) + bias).
// `unit` is a power of two (times a factor that the matrix has as a whole) that
// keeps small scales out of f16's subnormal
// range. The formats differ in the bits, in what a code's value is, and in how
// many columns share a set of scales:
//   q4        the code; 32 columns, or 64, 128, …
//   q8        the code; likewise
//   q4_table  a table's entry for the code; likewise
//   q4_16     a table's entry; 16 columns
//   q8_16     the code; 16 columns
// So 4 bits with an offset take 4.5 bits a weight in groups of 32 and 4.25 of
// 64; with biases 5, 4.5 of 64, 4.25 of 128. Rows are padded to a multiple of
// 16 with zero scales and biases; a block's last unit can be short of codes.
// One stream, because two (scales apart) are read 8 % slower from memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "roofline/base/thread_pool.h"
#include "roofline/weights/encodings.h"
#include "roofline/weights/tensor.h"

namespace roofline {

enum class PackedFormat { f32, f16, bf16, q4, q8, q4_table, q4_16, q8_16 };

constexpr int kRowBlock = 16;
constexpr int kGroup = 32;
/// Codes of a group in a row block, in bytes.
constexpr int kQ4Codes = kRowBlock * kGroup / 2;
constexpr int kQ8Codes = kRowBlock * kGroup;
/// The scales of a set, in bytes; its biases, where it has them, are as many
/// and follow.
constexpr int kSetScales = kRowBlock * 2;

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
/// Sets of scales in a group of 32 columns; with 1, groups may share one.
constexpr int scale_sets(PackedFormat format) {
  return format == PackedFormat::q4_16 || format == PackedFormat::q8_16 ? 2 : 1;
}
constexpr int code_bytes(PackedFormat format) {
  return has_nibbles(format) ? kQ4Codes : kQ8Codes;
}

/// A format with what is left to choose.
struct PackedForm {
  constexpr PackedForm(
      PackedFormat format = PackedFormat::f32,
      int scale_groups = 1,
      int offset = 0)
      : format(format), scale_groups(scale_groups), offset(offset) {}

  PackedFormat format;
  /// So many groups of 32 columns share a set: a power of two; 1 where a group
  /// has two sets.
  int scale_groups;
  /// What values are counted from; 0: sets have biases.
  int offset;

  bool quantized() const { return is_quantized(format); }
  int code_bytes() const { return roofline::code_bytes(format); }
  int set_bytes() const { return offset != 0 ? kSetScales : 2 * kSetScales; }
  /// Bytes of a unit's scales, and the groups they are for.
  int unit_scales() const;
  int unit_groups() const;
  bool operator==(const PackedForm&) const = default;
};

/// Where the groups of one row block are, for kernels that walk over them.
struct BlockGroups {
  const std::byte* first = nullptr;
  int unit_shift = 0;  ///< 2^unit_shift groups a unit
  int set_shift = 0;   ///< 2^set_shift groups share a set
  int code_bytes = 0;  ///< a group
  int set_bytes = 0;
  int unit_scales = 0;  ///< bytes of a unit's scales
  std::ptrdiff_t unit_bytes = 0;
  bool biases = true;  ///< else bias = minus_offset·scale
  float minus_offset = 0;

  const std::byte* unit(std::ptrdiff_t group) const {
    return first + (group >> unit_shift) * unit_bytes;
  }
  std::ptrdiff_t in_unit(std::ptrdiff_t group) const {
    return group & ((std::ptrdiff_t{1} << unit_shift) - 1);
  }
  const std::byte* codes(std::ptrdiff_t group) const {
    return unit(group) + unit_scales + in_unit(group) * code_bytes;
  }
  /// The scales of one of a group's sets; its biases are kSetScales on.
  const std::byte* scales(std::ptrdiff_t group, int set = 0) const {
    return unit(group) + ((in_unit(group) >> set_shift) + set) * set_bytes;
  }
};

/// The table by which a code is its own value.
constexpr CodeTable kOwnValues =
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

struct PackedMatrix : PackedForm {
  int rows = 0;
  int cols = 0;
  float unit = 1.0f;
  const std::byte* data = nullptr;
  CodeTable table = kOwnValues;  ///< for the formats that have one

  PackedForm form() const { return *this; }
  int row_blocks() const { return (rows + kRowBlock - 1) / kRowBlock; }
  int groups() const { return cols / kGroup; }
  /// Sets of scales a row.
  int sets() const;
  /// Bytes from one row block to the next.
  std::ptrdiff_t block_bytes() const;
  /// Where a row block begins (quantized formats).
  const std::byte* block(int index) const {
    return data + index * block_bytes();
  }
  BlockGroups block_groups(int block) const;
  /// Bytes that a reader of the whole matrix moves.
  std::size_t bytes() const;
};

/// "q4", "q8/16", "q4/64", "q4 without biases": for people.
std::string form_name(const PackedForm& form);
/// The same without what groups and offsets add.
std::string_view format_name(PackedFormat format);

/// The form that holds codes of this form without loss.
PackedForm packed_form(const CodeForm& form);

/// Bytes that pack() needs for rows × cols. cols must divide by 32 where it
/// is quantized.
std::size_t packed_bytes(
    const PackedForm& form,
    std::int64_t rows,
    std::int64_t cols);

/// Packs the tensors, stacked by rows (they share cols), into out (64-byte
/// aligned, packed_bytes of the sum of rows). Each must have a code_form that
/// fits the form, all with one table; q4 codes may go into q8, groups into
/// smaller ones, and types with an offset into forms that have biases. Returns
/// the view of out.
PackedMatrix pack(
    std::span<const Tensor* const> tensors,
    const PackedForm& form,
    std::span<std::byte> out,
    ThreadPool& pool);

/// A dense tensor as it lies in its file.
PackedMatrix dense_view(const Tensor& tensor);

/// Decodes one row into out[cols], float32: the embedding lookup.
void read_packed_row(const PackedMatrix& matrix, int row, std::span<float> out);

}  // namespace roofline
