#include "roofline/kernels/block/head_screen.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "roofline/base/half.h"
#include "roofline/base/pooled_rows.h"
#include "roofline/weights/encodings.h"

namespace roofline {

namespace {

/// Fewer rows are read in a moment, whatever they hold.
constexpr std::int64_t kLeastRows = 4096;
/// The head must be so many times as large as its copy: of the difference some
/// is lost to the rows that are read after all.
constexpr double kLeastRatio = 1.5;
/// GGML's q4_0: a half and 16 bytes for 32 columns.
constexpr std::size_t kBlockBytes = 18;

/// Rounds a group to codes −8 to 7 times a scale that makes its largest value
/// −8. No better scale is searched for: that shrinks what it rounds, and the
/// errors must not lean to one side. Returns the squares of the differences.
double round_group(std::span<const float> values, std::byte* out) {
  float most = 0;
  for (const float value : values) {
    most = std::fabs(value) > std::fabs(most) ? value : most;
  }
  const std::uint16_t half = f32_to_f16(most / -8);
  std::memcpy(out, &half, sizeof(half));
  out += sizeof(half);
  const float scale = f16_to_f32(half);
  const float inverse = scale != 0 ? 1 / scale : 0;
  double squares = 0;
  std::array<std::uint8_t, kGroup> codes;
  for (std::size_t i = 0; i < codes.size(); ++i) {
    const float value = values[i];
    const float code = std::clamp(std::nearbyint(value * inverse), -8.0f, 7.0f);
    codes[i] = static_cast<std::uint8_t>(static_cast<int>(code) + 8);
    const double off = value - code * scale;
    squares += off * off;
  }
  for (std::size_t i = 0; i < codes.size() / 2; ++i) {
    out[i] =
        static_cast<std::byte>(codes[i] | (codes[i + codes.size() / 2] << 4));
  }
  return squares;
}

}  // namespace

bool pays_to_screen(std::int64_t rows, std::int64_t cols, std::size_t bytes) {
  return rows >= kLeastRows && cols % kGroup == 0 &&
         static_cast<double>(bytes) >=
             kLeastRatio * static_cast<double>(screen_bytes(rows, cols));
}

std::size_t screen_bytes(std::int64_t rows, std::int64_t cols) {
  return packed_bytes(kScreenForm, rows, cols);
}

std::size_t screen_errors(std::int64_t rows) {
  return static_cast<std::size_t>((rows + kRowBlock - 1) / kRowBlock) *
         kRowBlock;
}

PackedMatrix make_screen(
    const Tensor& head,
    std::span<std::byte> out,
    std::span<float> errors,
    ThreadPool& pool) {
  const auto cols = static_cast<std::size_t>(head.cols);
  const std::size_t row_bytes = cols / kGroup * kBlockBytes;
  std::vector<std::byte> rounded(
      row_bytes * static_cast<std::size_t>(head.rows));
  std::fill(errors.begin(), errors.end(), 0.0f);
  RowBuffers buffers(pool, head.cols);
  each_pooled_row(head.rows, pool, [&](std::int64_t index, int worker) {
    const auto row = static_cast<std::size_t>(index);
    const std::span<float> values = buffers.of(worker);
    decode_row(head, index, values);
    double all = 0;
    for (const float value : values) {
      all += double{value} * value;
    }
    double squares = 0;
    std::byte* to = rounded.data() + row * row_bytes;
    for (std::size_t c = 0; c < cols; c += kGroup, to += kBlockBytes) {
      squares += round_group(values.subspan(c, kGroup), to);
    }
    errors[row] = static_cast<float>(
        std::max(std::sqrt(squares), std::sqrt(all) / kMostErrorRatio));
  });
  Tensor coarse;
  coarse.name = head.name;
  coarse.encoding = Encoding::q4_0;
  coarse.rows = head.rows;
  coarse.cols = head.cols;
  coarse.bytes = rounded;
  const Tensor* one = &coarse;
  return pack({&one, 1}, kScreenForm, out, pool);
}

}  // namespace roofline
