#include "roofline/kernels/packed_matrix.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <string>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/base/half.h"

namespace roofline {

namespace {

std::size_t dense_size(PackedFormat format) {
  return format == PackedFormat::f32 ? 4 : 2;
}

float half_at(const std::byte* at) {
  std::uint16_t half = 0;
  std::memcpy(&half, at, sizeof(half));
  return f16_to_f32(half);
}

std::int64_t sets_in(const PackedForm& form, std::int64_t cols) {
  const std::int64_t sets = cols / kGroup * scale_sets(form.format);
  return (sets + form.scale_groups - 1) / form.scale_groups;
}

std::int64_t block_bytes_in(const PackedForm& form, std::int64_t cols) {
  const std::int64_t groups = cols / kGroup;
  const std::int64_t units =
      (groups + form.unit_groups() - 1) / form.unit_groups();
  return units * form.unit_scales() + groups * form.code_bytes();
}

void read_quantized_row(
    const PackedMatrix& matrix,
    int row,
    std::span<float> out) {
  const bool nibbles = has_nibbles(matrix.format);
  const int in_block = row % kRowBlock;
  const int set_cols = kGroup / scale_sets(matrix.format);
  const BlockGroups groups = matrix.block_groups(row / kRowBlock);
  for (int g = 0; g < matrix.groups(); ++g) {
    const std::byte* codes = groups.codes(g);
    for (int first = 0; first < kGroup; first += set_cols) {
      const int set = first / set_cols;
      const std::byte* at = groups.scales(g, set) + 2 * in_block;
      const float scale = matrix.unit * half_at(at);
      const float bias = groups.biases ? matrix.unit * half_at(at + kSetScales)
                                       : scale * groups.minus_offset;
      for (int c = first; c < first + set_cols; ++c) {
        const int line = nibbles ? c / 8 : c / 4;
        const auto byte =
            static_cast<unsigned>(codes[64 * line + 4 * in_block + c % 4]);
        const unsigned code = !nibbles    ? byte
                              : c % 8 < 4 ? byte & 15u
                                          : byte >> 4;
        const unsigned value =
            has_table(matrix.format) ? matrix.table[code] : code;
        out[static_cast<std::size_t>(g * kGroup + c)] =
            scale * static_cast<float>(value) + bias;
      }
    }
  }
}

}  // namespace

int PackedForm::unit_scales() const {
  constexpr int kLine = 64;  // codes are to begin at a register's width
  return std::max(kLine, scale_sets(format) * set_bytes());
}

int PackedForm::unit_groups() const {
  return unit_scales() / (scale_sets(format) * set_bytes()) * scale_groups;
}

int PackedMatrix::sets() const {
  return static_cast<int>(sets_in(*this, cols));
}

std::ptrdiff_t PackedMatrix::block_bytes() const {
  return block_bytes_in(*this, cols);
}

BlockGroups PackedMatrix::block_groups(int index) const {
  const auto shift = [](int count) {
    return std::countr_zero(static_cast<unsigned>(count));
  };
  return {
      block(index),
      shift(unit_groups()),
      shift(scale_groups),
      code_bytes(),
      set_bytes(),
      unit_scales(),
      unit_scales() + std::ptrdiff_t{unit_groups()} * code_bytes(),
      offset == 0,
      -static_cast<float>(offset)};
}

std::size_t PackedMatrix::bytes() const {
  return packed_bytes(*this, rows, cols);
}

std::size_t packed_bytes(
    const PackedForm& form,
    std::int64_t rows,
    std::int64_t cols) {
  if (!form.quantized()) {
    return static_cast<std::size_t>(rows * cols) * dense_size(form.format);
  }
  if (cols % kGroup != 0) {
    fail<UnsupportedError>(
        "A quantized matrix has " + std::to_string(cols) + " columns",
        "The packed form has groups of 32 columns",
        "Use a checkpoint that isn't quantized");
  }
  const std::int64_t blocks = (rows + kRowBlock - 1) / kRowBlock;
  return static_cast<std::size_t>(blocks * block_bytes_in(form, cols));
}

std::string_view format_name(PackedFormat format) {
  switch (format) {
    case PackedFormat::f32:
      return "f32";
    case PackedFormat::f16:
      return "f16";
    case PackedFormat::bf16:
      return "bf16";
    case PackedFormat::q4:
      return "q4";
    case PackedFormat::q8:
      return "q8";
    case PackedFormat::q4_table:
      return "q4 by table";
    case PackedFormat::q4_16:
      return "q4/16";
    case PackedFormat::q8_16:
      return "q8/16";
  }
  return "";
}

std::string form_name(const PackedForm& form) {
  const std::string group = form.scale_groups > 1
                                ? fmt::format("/{}", form.scale_groups * kGroup)
                                : "";
  return fmt::format(
      "{}{}{}",
      format_name(form.format),
      group,
      form.offset != 0 ? " without biases" : "");
}

PackedForm packed_form(const CodeForm& form) {
  const bool sixteen = form.group_size < kGroup;
  const int groups = sixteen ? 1 : form.group_size / kGroup;
  PackedFormat format = PackedFormat::q4;
  if (form.bits > 4) {
    format = sixteen ? PackedFormat::q8_16 : PackedFormat::q8;
  } else if (sixteen) {
    format = PackedFormat::q4_16;
  } else if (form.table != nullptr) {
    format = PackedFormat::q4_table;
  }
  return {format, groups, form.offset};
}

PackedMatrix dense_view(const Tensor& tensor) {
  PackedMatrix matrix;
  switch (tensor.encoding) {
    case Encoding::f32:
      matrix.format = PackedFormat::f32;
      break;
    case Encoding::f16:
      matrix.format = PackedFormat::f16;
      break;
    case Encoding::bf16:
      matrix.format = PackedFormat::bf16;
      break;
    default:
      fail<BugError>(
          "Can't view " + tensor.name + " as a dense matrix",
          "It is " + std::string(encoding_name(tensor.encoding)),
          "Use pack()");
  }
  matrix.rows = static_cast<int>(tensor.rows);
  matrix.cols = static_cast<int>(tensor.cols);
  matrix.data = tensor.bytes.data();
  if (tensor.bytes.size() < matrix.bytes()) {
    fail<CheckpointError>(
        tensor.name + " has " + std::to_string(tensor.bytes.size()) + " bytes",
        "Its shape needs " + std::to_string(matrix.bytes()),
        "Download the file again");
  }
  return matrix;
}

void read_packed_row(
    const PackedMatrix& matrix,
    int row,
    std::span<float> out) {
  if (row < 0 || row >= matrix.rows ||
      out.size() != static_cast<std::size_t>(matrix.cols)) {
    fail<BugError>(
        "Can't read row " + std::to_string(row) + " of " +
            std::to_string(matrix.rows),
        "The row or the place for it is wrong",
        "Check the ids against the vocabulary");
  }
  if (matrix.quantized()) {
    read_quantized_row(matrix, row, out);
    return;
  }
  const std::size_t size = dense_size(matrix.format);
  const std::byte* from =
      matrix.data + static_cast<std::size_t>(row) * out.size() * size;
  if (matrix.format == PackedFormat::f32) {
    std::memcpy(out.data(), from, out.size() * size);
    return;
  }
  for (float& value : out) {
    std::uint16_t half = 0;
    std::memcpy(&half, from, size);
    from += size;
    value = matrix.format == PackedFormat::f16 ? f16_to_f32(half)
                                               : bf16_to_f32(half);
  }
}

}  // namespace roofline
