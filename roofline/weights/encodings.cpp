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
#include "roofline/weights/foreign_rows.h"

namespace roofline {

namespace {

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

bool is_mlx(Encoding encoding) {
  return encoding == Encoding::mlx_affine || encoding == Encoding::mlx_mxfp4 ||
         encoding == Encoding::mlx_nvfp4 || encoding == Encoding::mlx_mxfp8;
}

std::size_t bytes_in_row(const Tensor& tensor) {
  if (is_mlx(tensor.encoding)) {
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

/// The scale of one group of an MLX tensor whose scales are bytes, for e2m1
/// values that are doubled.
float half_scale(const Tensor& tensor, std::size_t index) {
  const auto bits = static_cast<std::uint8_t>(tensor.affine.scales[index]);
  const float scale = tensor.encoding == Encoding::mlx_nvfp4
                          ? 0.5f * e4m3_to_float(bits)
                          : e8m0_half(bits);
  return tensor.affine.factor * scale;
}

void read_mlx_row(const Tensor& tensor, std::int64_t row, AffineRow out) {
  unpack_bits(
      row_start(tensor, row, "read_code_row"),
      tensor.affine.bits,
      out.codes);
  const std::size_t groups = out.scales.size();
  const std::size_t first = static_cast<std::size_t>(row) * groups;
  if (tensor.encoding != Encoding::mlx_affine) {
    for (std::size_t i = 0; i < groups; ++i) {
      out.scales[i] = half_scale(tensor, first + i);
    }
    return;
  }
  for (std::size_t i = 0; i < groups; ++i) {
    const Encoding dtype = tensor.affine.dtype;
    out.scales[i] = float_at(tensor.affine.scales.data(), dtype, first + i);
    out.biases[i] = float_at(tensor.affine.biases.data(), dtype, first + i);
  }
}

/// The middle that a tensor's values are counted from; 0: it has biases.
int code_offset(const Tensor& tensor) {
  if (tensor.encoding == Encoding::mlx_mxfp4 ||
      tensor.encoding == Encoding::mlx_nvfp4) {
    return kFp4Offset;
  }
  return block_format(tensor.encoding).offset;
}

/// Codes of a whole row; biases only where there is no offset.
void read_codes(const Tensor& tensor, std::int64_t row, AffineRow out) {
  if (is_mlx(tensor.encoding)) {
    read_mlx_row(tensor, row, out);
    return;
  }
  const BlockFormat& format = block_format(tensor.encoding);
  const std::byte* block = row_start(tensor, row, "read_code_row");
  for (std::int64_t col = 0; col < tensor.cols; col += format.values) {
    const std::int64_t group = col / format.group;
    format.unpack(
        block,
        out.codes.data() + col,
        out.scales.data() + group,
        out.biases.data() + group);
    block += format.bytes;
  }
}

void decode_codes(
    const Tensor& tensor,
    const CodeForm& form,
    std::int64_t row,
    std::span<float> out) {
  const auto group = static_cast<std::size_t>(form.group_size);
  const auto cols = static_cast<std::size_t>(tensor.cols);
  std::vector<std::uint8_t> codes(cols);
  std::vector<float> factors(2 * (cols / group));
  const std::span<float> scales(factors.data(), cols / group);
  const std::span<float> biases(factors.data() + cols / group, cols / group);
  read_codes(tensor, row, {codes, scales, biases});
  const int offset = code_offset(tensor);
  for (std::size_t i = 0; i < cols; ++i) {
    const int value = form.table ? (*form.table)[codes[i]] : codes[i];
    // With an offset there is no bias: the one product is as exact as can be.
    out[i] = scales[i / group] * static_cast<float>(value - offset) +
             biases[i / group];
  }
}

void decode_mxfp8(
    const Tensor& tensor,
    std::int64_t row,
    std::span<float> out) {
  const std::byte* codes = row_start(tensor, row, "decode_row");
  const auto group = static_cast<std::size_t>(tensor.affine.group_size);
  const std::size_t first =
      static_cast<std::size_t>(row) * (out.size() / group);
  for (std::size_t i = 0; i < out.size(); ++i) {
    const float scale = 2 * half_scale(tensor, first + i / group);
    out[i] = scale * e4m3_to_float(static_cast<std::uint8_t>(codes[i]));
  }
}

template <class T>
void convert(const std::byte* values, std::span<float> out) {
  for (std::size_t i = 0; i < out.size(); ++i) {
    T value;
    std::memcpy(&value, values + i * sizeof(T), sizeof(T));
    out[i] = static_cast<float>(value);
  }
}

void decode_plain(
    const Tensor& tensor,
    std::int64_t row,
    std::span<float> out) {
  const std::byte* values = row_start(tensor, row, "decode_row");
  switch (tensor.encoding) {
    case Encoding::f32:
      std::memcpy(out.data(), values, out.size_bytes());
      return;
    case Encoding::f64:
      return convert<double>(values, out);
    case Encoding::i8:
      return convert<std::int8_t>(values, out);
    case Encoding::i16:
      return convert<std::int16_t>(values, out);
    case Encoding::i32:
      return convert<std::int32_t>(values, out);
    case Encoding::i64:
      return convert<std::int64_t>(values, out);
    case Encoding::bf16:
      for (std::size_t i = 0; i < out.size(); ++i) {
        out[i] = bf16_to_float(load_u16(values + 2 * i));
      }
      return;
    default:
      for (std::size_t i = 0; i < out.size(); ++i) {
        out[i] = f16_to_float(load_u16(values + 2 * i));
      }
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
  switch (encoding) {
    case Encoding::mlx_affine:
      return "affine";
    case Encoding::mlx_mxfp4:
      return "mxfp4";
    case Encoding::mlx_nvfp4:
      return "nvfp4";
    case Encoding::mlx_mxfp8:
      return "mxfp8";
    case Encoding::gptq:
      return "gptq";
    case Encoding::awq:
      return "awq";
    case Encoding::packed_int:
      return "int";
    case Encoding::plain_int8:
      return "int8";
    case Encoding::fp8:
      return "fp8";
    case Encoding::bitnet:
      return "bitnet";
    case Encoding::turned:
      return "turned";
    default:
      return block_format(encoding).name;
  }
}

std::string encoding_text(const Tensor& tensor) {
  const std::string_view name = encoding_name(tensor.encoding);
  int bits = 0;
  std::int64_t group = 0;
  if (tensor.encoding == Encoding::mlx_affine) {
    bits = tensor.affine.bits;
    group = tensor.affine.group_size;
  } else if (
      is_foreign(tensor.encoding) && tensor.encoding != Encoding::fp8 &&
      tensor.encoding != Encoding::bitnet &&
      tensor.encoding != Encoding::turned) {
    bits = tensor.foreign.bits;
    group = tensor.foreign.block_cols;
  }
  return bits == 0 ? std::string(name)
                   : fmt::format("{} {}-bit/{}", name, bits, group);
}

bool is_float(Encoding encoding) {
  return encoding == Encoding::f32 || encoding == Encoding::f16 ||
         encoding == Encoding::bf16;
}

std::optional<std::uint64_t> row_bytes(Encoding encoding, std::int64_t cols) {
  const BlockFormat& format = block_format(encoding);
  if (format.values == 0 || cols < 0 || cols % format.values != 0) {
    return std::nullopt;
  }
  return checked_mul(
      static_cast<std::uint64_t>(cols / format.values),
      static_cast<std::uint64_t>(format.bytes));
}

void decode_row(const Tensor& tensor, std::int64_t row, std::span<float> out) {
  if (out.size() != static_cast<std::size_t>(tensor.cols)) {
    fail_call(
        "decode_row: the output has another size than the row",
        fmt::format("{} and {}", out.size(), tensor.cols));
  }
  if (is_foreign(tensor.encoding)) {
    decode_foreign_row(tensor, row, out);
  } else if (tensor.encoding == Encoding::mlx_mxfp8) {
    decode_mxfp8(tensor, row, out);
  } else if (const auto form = code_form(tensor)) {
    decode_codes(tensor, *form, row, out);
  } else {
    decode_plain(tensor, row, out);
  }
}

std::optional<CodeForm> code_form(const Tensor& tensor) {
  if (is_foreign(tensor.encoding)) {
    return foreign_form(tensor);
  }
  switch (tensor.encoding) {
    case Encoding::mlx_affine:
      return CodeForm{
          tensor.affine.bits <= 4 ? 4 : 8,
          tensor.affine.group_size,
          nullptr,
          0};
    case Encoding::mlx_mxfp4:
    case Encoding::mlx_nvfp4:
      return CodeForm{4, tensor.affine.group_size, &kFp4Table, kFp4Offset};
    default:
      break;
  }
  const BlockFormat& format = block_format(tensor.encoding);
  if (format.bits == 0) {
    return std::nullopt;
  }
  return CodeForm{format.bits, format.group, format.table, format.offset};
}

std::optional<AffineForm> affine_form(const Tensor& tensor) {
  const auto form = code_form(tensor);
  if (!form || form->table != nullptr || form->group_size < 32) {
    return std::nullopt;
  }
  return AffineForm{form->bits, form->group_size};
}

void read_code_row(const Tensor& tensor, std::int64_t row, AffineRow out) {
  const auto form = code_form(tensor);
  if (!form) {
    fail_call(
        "read_code_row: " + tensor.name + " has no form of codes",
        std::string(encoding_name(tensor.encoding)));
  }
  const auto cols = static_cast<std::size_t>(tensor.cols);
  const std::size_t groups = cols / static_cast<std::size_t>(form->group_size);
  if (out.codes.size() != cols || out.scales.size() != groups ||
      out.biases.size() != groups) {
    fail_call(
        "read_code_row: the outputs don't fit " + tensor.name,
        fmt::format(
            "{} codes and {} groups for a row of {}",
            out.codes.size(),
            out.scales.size(),
            cols));
  }
  if (is_foreign(tensor.encoding)) {
    read_foreign_row(tensor, row, *form, out);
    return;
  }
  read_codes(tensor, row, out);
  if (const int offset = code_offset(tensor); offset != 0) {
    for (std::size_t i = 0; i < groups; ++i) {
      out.biases[i] = static_cast<float>(-offset) * out.scales[i];
    }
  }
}

void read_small_float_row(
    const Tensor& tensor,
    std::int64_t row,
    std::span<std::uint8_t> codes,
    std::span<std::byte> scales) {
  const BlockFormat& format = block_format(tensor.encoding);
  std::vector<float> unused(scales.size());
  read_codes(tensor, row, {codes, unused, unused});
  const int per_block = format.values / format.group;
  const std::byte* block = row_start(tensor, row, "read_small_float_row");
  for (std::size_t i = 0; i < scales.size(); i += per_block) {
    std::memcpy(scales.data() + i, block, per_block);
    block += format.bytes;
  }
}

void read_affine_row(const Tensor& tensor, std::int64_t row, AffineRow out) {
  if (!affine_form(tensor)) {
    fail_call(
        "read_affine_row: " + tensor.name + " has no affine form",
        std::string(encoding_name(tensor.encoding)));
  }
  read_code_row(tensor, row, out);
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
