#include "roofline/weights/encodings.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "roofline/base/errors.h"
#include "roofline/weights/blocks.h"
#include "roofline/weights/checked.h"
#include "roofline/weights/float16.h"

namespace roofline {

namespace {

constexpr int kGroupOfBlocks = 32;

[[noreturn]] void fail_call(const std::string& what, const std::string& why) {
  fail<BugError>(what, why, "Please report this");
}

float float_at(const std::byte* bytes, Encoding encoding, std::size_t i) {
  if (encoding == Encoding::f32) {
    float value;
    std::memcpy(&value, bytes + 4 * i, sizeof(value));
    return value;
  }
  const std::uint16_t bits = load_u16(bytes + 2 * i);
  return encoding == Encoding::bf16 ? bf16_to_float(bits) : f16_to_float(bits);
}

std::size_t bytes_in_row(const Tensor& tensor) {
  if (tensor.encoding == Encoding::mlx_affine) {
    return static_cast<std::size_t>(tensor.cols) * tensor.affine.bits / 8;
  }
  return row_bytes(tensor.encoding, tensor.cols).value_or(0);
}

const std::byte* row_start(
    const Tensor& tensor,
    std::int64_t row,
    const char* caller) {
  const std::size_t bytes = bytes_in_row(tensor);
  if (row < 0 || row >= tensor.rows ||
      bytes * (static_cast<std::size_t>(row) + 1) > tensor.bytes.size()) {
    fail_call(
        fmt::format("{}: no row {} in {}", caller, row, tensor.name),
        fmt::format(
            "It has {} rows and {} bytes",
            tensor.rows,
            tensor.bytes.size()));
  }
  return tensor.bytes.data() + bytes * static_cast<std::size_t>(row);
}

/// MLX packs codes as one stream of bits, lowest first: eight codes of b bits
/// are b bytes.
void unpack_bits(
    const std::byte* packed,
    int bits,
    std::span<std::uint8_t> codes) {
  const std::uint64_t mask = (std::uint64_t{1} << bits) - 1;
  for (std::size_t i = 0; i < codes.size(); i += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, packed, static_cast<std::size_t>(bits));
    packed += bits;
    for (std::size_t j = 0; j < 8; ++j) {
      codes[i + j] = static_cast<std::uint8_t>(word & mask);
      word >>= bits;
    }
  }
}

void read_mlx_row(const Tensor& tensor, std::int64_t row, AffineRow out) {
  unpack_bits(
      row_start(tensor, row, "read_affine_row"),
      tensor.affine.bits,
      out.codes);
  const std::size_t groups = out.scales.size();
  const std::size_t first = static_cast<std::size_t>(row) * groups;
  for (std::size_t i = 0; i < groups; ++i) {
    const Encoding dtype = tensor.affine.dtype;
    out.scales[i] = float_at(tensor.affine.scales.data(), dtype, first + i);
    out.biases[i] = float_at(tensor.affine.biases.data(), dtype, first + i);
  }
}

/// Codes of a whole row of blocks or of an MLX row, with groups of `group`.
void read_codes(const Tensor& tensor, std::int64_t row, AffineRow out) {
  if (tensor.encoding == Encoding::mlx_affine) {
    read_mlx_row(tensor, row, out);
    return;
  }
  const UnpackBlock unpack = block_unpacker(tensor.encoding);
  const BlockShape shape = block_shape(tensor.encoding);
  const std::byte* block = row_start(tensor, row, "read_affine_row");
  for (std::int64_t col = 0; col < tensor.cols; col += shape.values) {
    unpack(
        block,
        out.codes.data() + col,
        out.scales.data() + col / kGroupOfBlocks,
        out.biases.data() + col / kGroupOfBlocks);
    block += shape.bytes;
  }
}

int group_size_of(const Tensor& tensor) {
  return tensor.encoding == Encoding::mlx_affine ? tensor.affine.group_size
                                                 : kGroupOfBlocks;
}

void decode_affine(
    const Tensor& tensor,
    std::int64_t row,
    std::span<float> out) {
  const int group = group_size_of(tensor);
  const auto cols = static_cast<std::size_t>(tensor.cols);
  std::vector<std::uint8_t> codes(cols);
  std::vector<float> factors(2 * (cols / group));
  const std::span<float> scales(factors.data(), cols / group);
  const std::span<float> biases(factors.data() + cols / group, cols / group);
  read_codes(tensor, row, {codes, scales, biases});
  for (std::size_t i = 0; i < cols; ++i) {
    out[i] = scales[i / group] * codes[i] + biases[i / group];
  }
}

void decode_floats(
    const Tensor& tensor,
    std::int64_t row,
    std::span<float> out) {
  const std::byte* values = row_start(tensor, row, "decode_row");
  if (tensor.encoding == Encoding::f32) {
    std::memcpy(out.data(), values, out.size_bytes());
  } else if (tensor.encoding == Encoding::bf16) {
    for (std::size_t i = 0; i < out.size(); ++i) {
      out[i] = bf16_to_float(load_u16(values + 2 * i));
    }
  } else {
    for (std::size_t i = 0; i < out.size(); ++i) {
      out[i] = f16_to_float(load_u16(values + 2 * i));
    }
  }
}

void decode_super_blocks(
    const Tensor& tensor,
    std::int64_t row,
    std::span<float> out) {
  const BlockShape shape = block_shape(tensor.encoding);
  const auto decode = tensor.encoding == Encoding::q2_k   ? decode_q2_k
                      : tensor.encoding == Encoding::q3_k ? decode_q3_k
                                                          : decode_q6_k;
  const std::byte* block = row_start(tensor, row, "decode_row");
  for (std::size_t col = 0; col < out.size(); col += shape.values) {
    decode(block, out.data() + col);
    block += shape.bytes;
  }
}

/// One group: codes and the pair that leads back. Rule: mx::quantize.
void quantize_group(
    std::span<const float> values,
    int bits,
    std::uint8_t* codes,
    float& scale,
    float& bias) {
  const auto most = static_cast<float>((1 << bits) - 1);
  // Keeps a group of equal values from dividing by zero; MLX's figure.
  constexpr float kLeastScale = 1e-7f;
  float low = std::numeric_limits<float>::infinity();
  float high = -low;
  for (float value : values) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  const bool low_is_larger = std::abs(low) > std::abs(high);
  scale = std::max((high - low) / most, kLeastScale);
  scale = low_is_larger ? scale : -scale;
  const float edge = low_is_larger ? low : high;
  const float zero = std::rint(edge / scale);
  bias = 0;
  if (zero != 0) {
    scale = edge / zero;
    bias = edge;
  }
  // Added and taken away again it rounds small positive floats to the nearest
  // integer, ties to even, in vector code too; std::rint is a call.
  constexpr float kRound = 0x1p23f;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const float code = (values[i] - bias) / scale;
    // Written so that NaN becomes a code as well.
    const float inside = code > 0 ? (code < most ? code : most) : 0;
    codes[i] = static_cast<std::uint8_t>((inside + kRound) - kRound);
  }
}

}  // namespace

std::string_view encoding_name(Encoding encoding) {
  static constexpr std::string_view kNames[] = {
      "f32",
      "f16",
      "bf16",
      "q4_0",
      "q4_1",
      "q5_0",
      "q5_1",
      "q8_0",
      "q2_k",
      "q3_k",
      "q4_k",
      "q5_k",
      "q6_k",
      "affine"};
  return kNames[static_cast<int>(encoding)];
}

std::optional<std::uint64_t> row_bytes(Encoding encoding, std::int64_t cols) {
  const BlockShape shape = block_shape(encoding);
  if (cols < 0 || cols % shape.values != 0) {
    return std::nullopt;
  }
  return checked_mul(cols / shape.values, shape.bytes);
}

void decode_row(const Tensor& tensor, std::int64_t row, std::span<float> out) {
  if (out.size() != static_cast<std::size_t>(tensor.cols)) {
    fail_call(
        "decode_row: the output has another size than the row",
        fmt::format("{} and {}", out.size(), tensor.cols));
  }
  switch (tensor.encoding) {
    case Encoding::f32:
    case Encoding::f16:
    case Encoding::bf16:
      return decode_floats(tensor, row, out);
    case Encoding::q2_k:
    case Encoding::q3_k:
    case Encoding::q6_k:
      return decode_super_blocks(tensor, row, out);
    default:
      return decode_affine(tensor, row, out);
  }
}

std::optional<AffineForm> affine_form(const Tensor& tensor) {
  switch (tensor.encoding) {
    case Encoding::q4_0:
    case Encoding::q4_1:
    case Encoding::q4_k:
      return AffineForm{4, kGroupOfBlocks};
    case Encoding::q5_0:
    case Encoding::q5_1:
    case Encoding::q5_k:
    case Encoding::q8_0:
      return AffineForm{8, kGroupOfBlocks};
    case Encoding::mlx_affine: {
      const int group = tensor.affine.group_size;
      if (group != 32 && group != 64 && group != 128) {
        return std::nullopt;
      }
      return AffineForm{tensor.affine.bits <= 4 ? 4 : 8, group};
    }
    default:
      return std::nullopt;
  }
}

void read_affine_row(const Tensor& tensor, std::int64_t row, AffineRow out) {
  const auto form = affine_form(tensor);
  if (!form) {
    fail_call(
        "read_affine_row: " + tensor.name + " has no affine form",
        std::string(encoding_name(tensor.encoding)));
  }
  const auto cols = static_cast<std::size_t>(tensor.cols);
  const std::size_t groups = cols / form->group_size;
  if (out.codes.size() != cols || out.scales.size() != groups ||
      out.biases.size() != groups) {
    fail_call(
        "read_affine_row: the outputs don't fit " + tensor.name,
        fmt::format(
            "{} codes and {} groups for a row of {}",
            out.codes.size(),
            out.scales.size(),
            cols));
  }
  read_codes(tensor, row, out);
}

void quantize_row(
    std::span<const float> values,
    AffineForm form,
    AffineRow out) {
  const auto group = static_cast<std::size_t>(form.group_size);
  if (group == 0 || values.size() % group != 0 ||
      out.codes.size() != values.size() ||
      out.scales.size() != values.size() / group ||
      out.biases.size() != values.size() / group || form.bits < 1 ||
      form.bits > 8) {
    fail_call(
        "quantize_row: sizes don't fit",
        fmt::format(
            "{} values in groups of {} to {} codes",
            values.size(),
            group,
            out.codes.size()));
  }
  for (std::size_t i = 0; i < out.scales.size(); ++i) {
    quantize_group(
        values.subspan(i * group, group),
        form.bits,
        out.codes.data() + i * group,
        out.scales[i],
        out.biases[i]);
  }
}

}  // namespace roofline
