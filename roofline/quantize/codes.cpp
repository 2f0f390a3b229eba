#include "roofline/quantize/codes.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "roofline/base/errors.h"
#include "roofline/base/half.h"
#include "roofline/kernels/round/round.h"
#include "roofline/quantize/small_floats.h"
#include "roofline/weights/encodings.h"

namespace roofline {

namespace {

bool is_affine(const MatrixFormat& format) {
  return format.mode == QuantMode::affine;
}

std::span<const float> table_of(QuantMode mode) {
  return mode == QuantMode::mxfp8 ? e4m3_values() : e2m1_values();
}

void write_float(float value, Encoding type, std::byte* out) {
  if (type == Encoding::f32) {
    std::memcpy(out, &value, sizeof(value));
    return;
  }
  const std::uint16_t half =
      type == Encoding::bf16 ? f32_to_bf16(value) : f32_to_f16(value);
  std::memcpy(out, &half, sizeof(half));
}

std::byte scale_byte(float scale, QuantMode mode) {
  return static_cast<std::byte>(
      mode == QuantMode::nvfp4 ? nearest_index(e4m3_values(), scale)
                               : e8m0_above(scale));
}

/// One stream of bits, lowest first: eight codes of b bits are b bytes.
void pack_row(std::span<const std::uint8_t> codes, int bits, std::byte* out) {
  if (bits == 8) {
    std::memcpy(out, codes.data(), codes.size());
    return;
  }
  if (bits == 4) {
    for (std::size_t i = 0; i < codes.size() / 2; ++i) {
      out[i] = static_cast<std::byte>(codes[2 * i] | codes[2 * i + 1] << 4);
    }
    return;
  }
  for (std::size_t i = 0; i < codes.size(); i += 8) {
    std::uint64_t word = 0;
    for (std::size_t j = 8; j-- > 0;) {
      word = word << bits | codes[i + j];
    }
    std::memcpy(out, &word, static_cast<std::size_t>(bits));
    out += bits;
  }
}

}  // namespace

void CodeMatrix::append(const CodeMatrix& more) {
  rows += more.rows;
  codes.insert(codes.end(), more.codes.begin(), more.codes.end());
  scales.insert(scales.end(), more.scales.begin(), more.scales.end());
  biases.insert(biases.end(), more.biases.begin(), more.biases.end());
}

FloatMatrix read_rows(
    const Tensor& tensor,
    std::int64_t first,
    std::int64_t rows,
    ThreadPool& pool) {
  FloatMatrix matrix{static_cast<int>(rows), static_cast<int>(tensor.cols), {}};
  matrix.values.resize(
      static_cast<std::size_t>(rows) * static_cast<std::size_t>(tensor.cols));
  for_each_row(matrix.rows, pool, [&](int row) {
    decode_row(tensor, first + row, matrix.row(row));
  });
  return matrix;
}

FloatMatrix read_matrix(const Tensor& tensor, ThreadPool& pool) {
  return read_rows(tensor, 0, tensor.rows, pool);
}

CodeMatrix empty_codes(
    int rows,
    int cols,
    const MatrixFormat& format,
    Encoding scale_type) {
  if (!format.fits(cols) || format.mode == QuantMode::keep) {
    fail<BugError>(
        "quantize: a format that doesn't fit",
        "The columns are no whole number of groups",
        "Look at fits() first");
  }
  CodeMatrix matrix{format, scale_type, rows, cols, {}, {}, {}};
  const auto r = static_cast<std::size_t>(rows);
  matrix.codes.resize(r * static_cast<std::size_t>(cols));
  matrix.scales.resize(r * static_cast<std::size_t>(matrix.groups()));
  matrix.biases.resize(matrix.scales.size());
  return matrix;
}

float rounded(float value, Encoding type) {
  switch (type) {
    case Encoding::f16:
      return f16_to_f32(f32_to_f16(value));
    case Encoding::bf16:
      return bf16_to_f32(f32_to_bf16(value));
    default:
      return value;
  }
}

GroupGrid::GroupGrid(const MatrixFormat& format, float scale, float bias)
    : scale_(scale), bias_(bias), inverse_(scale == 0 ? 0 : 1 / scale) {
  if (is_affine(format)) {
    most_ = static_cast<float>((1 << format.bits) - 1);
  } else {
    table_ = table_of(format.mode);
    sign_bit_ = format.bits - 1;
  }
}

float GroupGrid::value(std::uint8_t code) const {
  if (table_.empty()) {
    return scale_ * static_cast<float>(code) + bias_;
  }
  const float size = table_[code & ((1u << sign_bit_) - 1)];
  return scale_ * (code >> sign_bit_ ? -size : size);
}

std::uint8_t GroupGrid::nearest(float wanted) const {
  if (table_.empty()) {
    const float code = (wanted - bias_) * inverse_;
    // Written so that NaN becomes a code as well.
    const float inside = code > 0 ? (code < most_ ? code : most_) : 0;
    // Added and taken away again it rounds small positive floats.
    constexpr float kRound = 0x1p23f;
    return static_cast<std::uint8_t>((inside + kRound) - kRound);
  }
  const float size = std::abs(wanted) * inverse_;
  const std::uint8_t index = size > 0 ? nearest_index(table_, size) : 0;
  return static_cast<std::uint8_t>(
      index | (wanted < 0 && index > 0 ? 1u << sign_bit_ : 0u));
}

void GroupGrid::nearest(std::span<const float> wanted, std::uint8_t* codes)
    const {
  if (table_.empty()) {
    round_kernels().codes(
        wanted.data(),
        static_cast<int>(wanted.size()),
        bias_,
        inverse_,
        most_,
        codes);
    return;
  }
  for (const float value : wanted) {
    *codes++ = nearest(value);
  }
}

double GroupGrid::error(
    std::span<const float> wanted,
    std::span<const float> importance) const {
  if (table_.empty()) {
    return static_cast<double>(round_kernels().error(
        wanted.data(),
        importance.empty() ? nullptr : importance.data(),
        static_cast<int>(wanted.size()),
        scale_,
        bias_,
        inverse_,
        most_));
  }
  double sum = 0;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const float error = value(nearest(wanted[i])) - wanted[i];
    sum += static_cast<double>(
        (importance.empty() ? 1.0f : importance[i]) * error * error);
  }
  return sum;
}

GroupGrid grid_of(const CodeMatrix& matrix, int row, int group) {
  const auto at = static_cast<std::size_t>(row) *
                      static_cast<std::size_t>(matrix.groups()) +
                  static_cast<std::size_t>(group);
  return {matrix.format, matrix.scales[at], matrix.biases[at]};
}

CodeMatrix round_plain(
    const FloatMatrix& weights,
    const MatrixFormat& format,
    Encoding scale_type,
    ThreadPool& pool,
    RangeSearch search,
    std::span<const float> importance) {
  CodeMatrix out = empty_codes(weights.rows, weights.cols, format, scale_type);
  const auto group = static_cast<std::size_t>(format.group_size);
  const auto groups = static_cast<std::size_t>(out.groups());
  for_each_row(weights.rows, pool, [&](int row) {
    const auto values = weights.row(row);
    auto* codes =
        out.codes.data() + static_cast<std::size_t>(row) * values.size();
    for (std::size_t g = 0; g < groups; ++g) {
      const auto part = values.subspan(g * group, group);
      const auto weight = importance.empty()
                              ? importance
                              : importance.subspan(g * group, group);
      const std::size_t at = static_cast<std::size_t>(row) * groups + g;
      fit_group(
          part,
          weight,
          format,
          scale_type,
          search,
          out.scales[at],
          out.biases[at]);
      GroupGrid(format, out.scales[at], out.biases[at])
          .nearest(part, codes + g * group);
    }
  });
  return out;
}

FloatMatrix decode(const CodeMatrix& matrix, ThreadPool& pool) {
  FloatMatrix out{matrix.rows, matrix.cols, {}};
  out.values.resize(matrix.codes.size());
  const auto group = static_cast<std::size_t>(matrix.format.group_size);
  for_each_row(matrix.rows, pool, [&](int row) {
    const auto values = out.row(row);
    const auto* codes =
        matrix.codes.data() + static_cast<std::size_t>(row) * values.size();
    for (int g = 0; g < matrix.groups(); ++g) {
      const GroupGrid grid = grid_of(matrix, row, g);
      const auto first = static_cast<std::size_t>(g) * group;
      for (std::size_t i = first; i < first + group; ++i) {
        values[i] = grid.value(codes[i]);
      }
    }
  });
  return out;
}

PackedCodes pack_codes(const CodeMatrix& matrix, ThreadPool& pool) {
  PackedCodes out{
      matrix.format,
      matrix.scale_type,
      matrix.rows,
      matrix.cols,
      {},
      {},
      {}};
  const bool affine = is_affine(matrix.format);
  const std::size_t row_bytes = static_cast<std::size_t>(matrix.cols) *
                                static_cast<std::size_t>(matrix.format.bits) /
                                8;
  const std::size_t item = !affine                              ? 1
                           : matrix.scale_type == Encoding::f32 ? 4
                                                                : 2;
  out.words.resize(static_cast<std::size_t>(matrix.rows) * row_bytes);
  out.scales.resize(matrix.scales.size() * item);
  out.biases.resize(affine ? out.scales.size() : 0);
  const auto cols = static_cast<std::size_t>(matrix.cols);
  const auto groups = static_cast<std::size_t>(matrix.groups());
  for_each_row(matrix.rows, pool, [&](int row) {
    const auto r = static_cast<std::size_t>(row);
    pack_row(
        std::span(matrix.codes).subspan(r * cols, cols),
        matrix.format.bits,
        out.words.data() + r * row_bytes);
    for (std::size_t at = r * groups; at < (r + 1) * groups; ++at) {
      if (affine) {
        write_float(
            matrix.scales[at],
            matrix.scale_type,
            out.scales.data() + at * item);
        write_float(
            matrix.biases[at],
            matrix.scale_type,
            out.biases.data() + at * item);
      } else {
        out.scales[at] = scale_byte(matrix.scales[at], matrix.format.mode);
      }
    }
  });
  return out;
}

}  // namespace roofline
