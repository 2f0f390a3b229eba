// The portable variant and the reference that the others are tested against.
#include <algorithm>
#include <cstddef>
#include <cstring>

#include "roofline/base/half.h"
#include "roofline/kernels/dense/dense_variants.h"

namespace roofline {

namespace {

constexpr int kLanes = 8;    ///< partial sums that a compiler can vectorise
constexpr int kChunk = 256;  ///< columns decoded at a time, on the stack

void decode(
    const PackedMatrix& w,
    std::ptrdiff_t first,
    int count,
    float* values) {
  if (w.format == PackedFormat::f32) {
    std::memcpy(
        values,
        w.data + 4 * first,
        4 * static_cast<std::size_t>(count));
    return;
  }
  const std::byte* from = w.data + 2 * first;
  for (int i = 0; i < count; ++i, from += 2) {
    std::uint16_t half = 0;
    std::memcpy(&half, from, sizeof(half));
    values[i] =
        w.format == PackedFormat::f16 ? f16_to_f32(half) : bf16_to_f32(half);
  }
}

float dot(const float* a, const float* b, int count) {
  float lanes[kLanes] = {};
  int i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) {
      lanes[lane] += a[i + lane] * b[i + lane];
    }
  }
  float sum = 0;
  for (; i < count; ++i) {
    sum += a[i] * b[i];
  }
  for (float lane : lanes) {
    sum += lane;
  }
  return sum;
}

void product(
    const PackedMatrix& w,
    int row_begin,
    int row_end,
    const float* x,
    int token_begin,
    int token_end,
    float* y,
    int ldy,
    DenseOrder) {
  const std::ptrdiff_t cols = w.cols;
  for (int row = row_begin; row < row_end; ++row) {
    for (int token = token_begin; token < token_end; ++token) {
      y[static_cast<std::ptrdiff_t>(token) * ldy + row] = 0;
    }
    for (std::ptrdiff_t c = 0; c < cols; c += kChunk) {
      float values[kChunk];
      const int count =
          static_cast<int>(std::min<std::ptrdiff_t>(kChunk, cols - c));
      decode(w, row * cols + c, count, values);
      for (int token = token_begin; token < token_end; ++token) {
        y[static_cast<std::ptrdiff_t>(token) * ldy + row] +=
            dot(values, x + token * cols + c, count);
      }
    }
  }
}

}  // namespace

const DenseKernels& dense_generic() {
  static constexpr DenseKernels kKernels{"generic", product};
  return kKernels;
}

}  // namespace roofline
