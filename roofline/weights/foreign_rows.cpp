#include "roofline/weights/foreign_rows.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <vector>

#include "roofline/base/errors.h"
#include "roofline/weights/blocks.h"
#include "roofline/weights/float16.h"

namespace roofline {

namespace {

using Foreign = Tensor::Foreign;

std::uint32_t word_at(std::span<const std::byte> words, std::int64_t i) {
  std::uint32_t word;
  std::memcpy(&word, words.data() + 4 * i, sizeof(word));
  return word;
}

std::uint32_t byte_at(std::span<const std::byte> bytes, std::int64_t i) {
  return static_cast<std::uint32_t>(bytes[static_cast<std::size_t>(i)]);
}

float value_at(
    std::span<const std::byte> values,
    Foreign::Scale type,
    std::int64_t i) {
  switch (type) {
    case Foreign::Scale::f32: {
      float value;
      std::memcpy(&value, values.data() + 4 * i, sizeof(value));
      return value;
    }
    case Foreign::Scale::bf16:
      return bf16_to_float(load_u16(values.data() + 2 * i));
    case Foreign::Scale::e8m0:
      return 2 * e8m0_half(static_cast<std::uint8_t>(byte_at(values, i)));
    case Foreign::Scale::f16:
      break;
  }
  return f16_to_float(load_u16(values.data() + 2 * i));
}

/// One row of a foreign matrix: where its codes, zeros and scales are.
class Row {
 public:
  Row(const Tensor& tensor, std::int64_t row)
      : tensor_(tensor),
        f_(tensor.foreign),
        row_(f_.first_row + row * f_.row_step),
        block_cols_(f_.block_cols > 0 ? f_.block_cols : tensor.cols),
        groups_((tensor.cols + block_cols_ - 1) / block_cols_) {
    if (row < 0 || row >= tensor.rows || row_ >= f_.stored_rows) {
      fail<BugError>(
          "No row " + std::to_string(row) + " in " + tensor.name,
          "It has " + std::to_string(tensor.rows) + " rows",
          "Please report this");
    }
  }

  std::int64_t stored_row() const { return row_; }
  std::int64_t block_cols() const { return block_cols_; }
  std::int64_t groups() const { return groups_; }
  std::int64_t group_of(std::int64_t col) const {
    if (f_.groups.empty()) {
      return col / block_cols_;
    }
    return static_cast<std::int32_t>(word_at(f_.groups, col));
  }

  float scale(std::int64_t group) const {
    const float stored = value_at(
        f_.scales,
        f_.scale_type,
        transposed() ? group * f_.stored_rows + row_
                     : row_ / f_.block_rows * groups_ + group);
    return f_.inverse_scales ? 1 / stored : stored;
  }

  float zero(std::int64_t group) const {
    return static_cast<float>(stored_zero(group) + f_.zero_shift);
  }

  void read_codes(std::span<std::uint8_t> out) const;

 private:
  bool transposed() const {
    return tensor_.encoding == Encoding::gptq ||
           tensor_.encoding == Encoding::awq;
  }
  int stored_zero(std::int64_t group) const;
  /// The code at position i of a stream of bits that lies along a row of words
  /// or, with a stride, down a column of them.
  std::uint32_t stream_code(
      std::span<const std::byte> words,
      std::int64_t i,
      std::int64_t first,
      std::int64_t stride) const;
  /// AWQ's order of the eight rows in a word.
  std::uint32_t awq_code(std::span<const std::byte> words, std::int64_t line)
      const;

  const Tensor& tensor_;
  const Foreign& f_;
  std::int64_t row_;
  std::int64_t block_cols_;
  std::int64_t groups_;
};

std::uint32_t Row::stream_code(
    std::span<const std::byte> words,
    std::int64_t i,
    std::int64_t first,
    std::int64_t stride) const {
  const std::int64_t bit = i * f_.bits;
  const auto shift = static_cast<int>(bit % 32);
  const std::int64_t at = first + bit / 32 * stride;
  std::uint64_t window = word_at(words, at);
  if (shift + f_.bits > 32) {
    window |= std::uint64_t{word_at(words, at + stride)} << 32;
  }
  return static_cast<std::uint32_t>(window >> shift) & ((1u << f_.bits) - 1);
}

std::uint32_t Row::awq_code(std::span<const std::byte> words, std::int64_t line)
    const {
  constexpr std::array<int, 8> kNibble = {0, 4, 1, 5, 2, 6, 3, 7};
  const std::uint32_t word =
      word_at(words, line * (f_.stored_rows / 8) + row_ / 8);
  return word >> (4 * kNibble[static_cast<std::size_t>(row_ % 8)]) & 15;
}

/// What a tensor without zeros of its own stands for.
int middle(const Tensor& tensor) {
  return tensor.encoding == Encoding::bitnet ? 1
                                             : 1 << (tensor.foreign.bits - 1);
}

int Row::stored_zero(std::int64_t group) const {
  if (f_.zeros.empty()) {
    return middle(tensor_);
  }
  switch (tensor_.encoding) {
    case Encoding::awq:
      return static_cast<int>(awq_code(f_.zeros, group));
    case Encoding::gptq: {
      const std::int64_t words = f_.stored_rows * f_.bits / 32;
      return static_cast<int>(stream_code(f_.zeros, row_, group * words, 1));
    }
    case Encoding::packed_int:
      return static_cast<int>(stream_code(f_.zeros, row_, group, groups_));
    default:  // int8
      return 128 + static_cast<std::int8_t>(f_.zeros[static_cast<std::size_t>(
                       row_ / f_.block_rows * groups_ + group)]);
  }
}

void Row::read_codes(std::span<std::uint8_t> out) const {
  const auto cols = static_cast<std::int64_t>(out.size());
  const auto put = [&](auto code_of) {
    for (std::int64_t c = 0; c < cols; ++c) {
      out[static_cast<std::size_t>(c)] = static_cast<std::uint8_t>(code_of(c));
    }
  };
  switch (tensor_.encoding) {
    case Encoding::gptq:
      return put([&](std::int64_t c) {
        return stream_code(tensor_.bytes, c, row_, f_.stored_rows);
      });
    case Encoding::awq:
      return put([&](std::int64_t c) { return awq_code(tensor_.bytes, c); });
    case Encoding::packed_int:
      return put([&](std::int64_t c) {
        return stream_code(tensor_.bytes, c, row_ * cols * f_.bits / 32, 1);
      });
    case Encoding::bitnet: {
      const std::int64_t quarter = f_.stored_rows / 4;
      const auto shift = static_cast<int>(2 * (row_ / quarter));
      return put([&](std::int64_t c) {
        return byte_at(tensor_.bytes, row_ % quarter * cols + c) >> shift & 3;
      });
    }
    default:  // int8
      return put([&](std::int64_t c) {
        return byte_at(tensor_.bytes, row_ * cols + c) ^ 0x80;
      });
  }
}

void decode_fp8_row(
    const Tensor& tensor,
    const Row& row,
    std::int64_t index,
    std::span<float> out) {
  const auto first = static_cast<std::size_t>(
      (tensor.foreign.first_row + index) * tensor.cols);
  const auto block = static_cast<std::size_t>(row.block_cols());
  for (std::size_t begin = 0; begin < out.size(); begin += block) {
    const float scale = row.scale(static_cast<std::int64_t>(begin / block));
    const std::size_t end = std::min(out.size(), begin + block);
    for (std::size_t c = begin; c < end; ++c) {
      out[c] = scale * e4m3_to_float(
                           static_cast<std::uint8_t>(tensor.bytes[first + c]));
    }
  }
}

void decode_turned_row(
    const Tensor& tensor,
    const Row& row,
    std::span<float> out) {
  const Foreign& f = tensor.foreign;
  std::int64_t at = row.stored_row();
  for (float& value : out) {
    value = value_at(tensor.bytes, f.scale_type, at);
    at += f.stored_rows;
  }
}

}  // namespace

bool is_foreign(Encoding encoding) {
  switch (encoding) {
    case Encoding::gptq:
    case Encoding::awq:
    case Encoding::packed_int:
    case Encoding::plain_int8:
    case Encoding::fp8:
    case Encoding::bitnet:
    case Encoding::turned:
      return true;
    default:
      return false;
  }
}

std::optional<CodeForm> foreign_form(const Tensor& tensor) {
  const Foreign& f = tensor.foreign;
  if (tensor.encoding == Encoding::fp8 || tensor.encoding == Encoding::turned ||
      !f.groups.empty()) {
    return std::nullopt;
  }
  const std::int64_t block = f.block_cols > 0 ? f.block_cols : tensor.cols;
  for (const int group : {128, 64, 32, 16}) {
    // A last group that is short has its scale too.
    if (block % group == 0 && tensor.cols % group == 0) {
      // Without zeros of their own, codes count from one middle.
      const int offset = f.zeros.empty() ? middle(tensor) + f.zero_shift : 0;
      return CodeForm{f.bits <= 4 ? 4 : 8, group, nullptr, offset};
    }
  }
  return std::nullopt;
}

void read_foreign_row(
    const Tensor& tensor,
    std::int64_t row,
    const CodeForm& form,
    AffineRow out) {
  const Row source(tensor, row);
  source.read_codes(out.codes);
  for (std::size_t i = 0; i < out.scales.size(); ++i) {
    const std::int64_t col = static_cast<std::int64_t>(i) * form.group_size;
    const std::int64_t group = source.group_of(col);
    out.scales[i] = source.scale(group);
    out.biases[i] = -out.scales[i] * source.zero(group);
  }
}

void decode_foreign_row(
    const Tensor& tensor,
    std::int64_t row,
    std::span<float> out) {
  const Row source(tensor, row);
  if (tensor.encoding == Encoding::fp8) {
    decode_fp8_row(tensor, source, row, out);
    return;
  }
  if (tensor.encoding == Encoding::turned) {
    decode_turned_row(tensor, source, out);
    return;
  }
  std::vector<std::uint8_t> codes(out.size());
  source.read_codes(codes);
  std::int64_t group = -1;
  float scale = 0;
  float zero = 0;
  for (std::size_t c = 0; c < out.size(); ++c) {
    const std::int64_t own = source.group_of(static_cast<std::int64_t>(c));
    if (own != group) {
      group = own;
      scale = source.scale(group);
      zero = source.zero(group);
    }
    out[c] = scale * (static_cast<float>(codes[c]) - zero);
  }
}

}  // namespace roofline
