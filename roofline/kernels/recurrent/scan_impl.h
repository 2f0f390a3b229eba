// The scans over the Vec of the file that includes this.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>

#include "roofline/kernels/recurrent/scan_variants.h"

namespace roofline {
namespace {

/// S := decay·S + in·bᵀ for one row; returns the row · c.
inline float mamba2_row(
    float* row,
    const float* b,
    const float* c,
    int count,
    float decay,
    float in) {
  const Vec factor = Vec::all(decay);
  const Vec value = Vec::all(in);
  Vec sum = Vec::all(0.0f);
  int n = 0;
  for (; n + Vec::kWidth <= count; n += Vec::kWidth) {
    const Vec held = fma(Vec::load(row + n), factor, value * Vec::load(b + n));
    held.store(row + n);
    sum = fma(held, Vec::load(c + n), sum);
  }
  if (n < count) {
    const int left = count - n;
    const Vec held =
        fma(Vec::load(row + n, left), factor, value * Vec::load(b + n, left));
    held.store(row + n, left);
    sum = fma(held, Vec::load(c + n, left), sum);
  }
  return sum_of(sum);
}

inline void mamba2_head(const Mamba2Scan& scan, int head) {
  const std::ptrdiff_t dims = scan.head_dim;
  const std::ptrdiff_t state = scan.state_dim;
  const std::ptrdiff_t group = head / (scan.heads / scan.groups);
  float* held = scan.after + head * dims * state;
  std::memcpy(
      held,
      scan.before + head * dims * state,
      static_cast<std::size_t>(dims * state) * sizeof(float));
  for (std::ptrdiff_t t = 0; t < scan.tokens; ++t) {
    const std::ptrdiff_t at = t * scan.heads + head;
    const float* b = scan.b + (t * scan.groups + group) * state;
    const float* c = scan.c + (t * scan.groups + group) * state;
    const float step = scan.steps[at];
    const float decay = std::exp(step * scan.decay[head]);
    for (std::ptrdiff_t p = 0; p < dims; ++p) {
      scan.y[at * dims + p] = mamba2_row(
          held + p * state,
          b,
          c,
          scan.state_dim,
          decay,
          step * scan.x[at * dims + p]);
    }
  }
}

/// One token's update of `count` ≤ kWidth columns of a head's state.
inline void delta_columns(
    float* held,
    std::ptrdiff_t stride,
    int rows,
    int count,
    const float* q,
    const float* k,
    const float* v,
    float decay,
    float beta,
    float* y) {
  const bool whole = count == Vec::kWidth;
  const auto load = [&](const float* from) {
    return whole ? Vec::load(from) : Vec::load(from, count);
  };
  Vec known = Vec::all(0.0f);
  for (int n = 0; n < rows; ++n) {
    known = fma(load(held + n * stride), Vec::all(k[n]), known);
  }
  const Vec factor = Vec::all(decay);
  const Vec write = Vec::all(beta) * (load(v) - factor * known);
  Vec sum = Vec::all(0.0f);
  for (int n = 0; n < rows; ++n) {
    float* row = held + n * stride;
    const Vec now = fma(write, Vec::all(k[n]), factor * load(row));
    if (whole) {
      now.store(row);
    } else {
      now.store(row, count);
    }
    sum = fma(now, Vec::all(q[n]), sum);
  }
  if (whole) {
    sum.store(y);
  } else {
    sum.store(y, count);
  }
}

inline void gated_delta_head(const GatedDeltaScan& scan, int head) {
  const std::ptrdiff_t dims = scan.head_dim;
  const std::ptrdiff_t keys = scan.state_dim;
  const std::ptrdiff_t group = head / (scan.heads / scan.groups);
  float* held = scan.after + head * keys * dims;
  std::memcpy(
      held,
      scan.before + head * keys * dims,
      static_cast<std::size_t>(keys * dims) * sizeof(float));
  for (std::ptrdiff_t t = 0; t < scan.tokens; ++t) {
    const std::ptrdiff_t at = t * scan.heads + head;
    const std::ptrdiff_t key = (t * scan.groups + group) * keys;
    const float decay = std::exp(scan.log_decay[at]);
    for (std::ptrdiff_t d = 0; d < dims; d += Vec::kWidth) {
      delta_columns(
          held + d,
          dims,
          scan.state_dim,
          static_cast<int>(std::min<std::ptrdiff_t>(Vec::kWidth, dims - d)),
          scan.q + key,
          scan.k + key,
          scan.v + at * dims + d,
          decay,
          scan.beta[at],
          scan.y + at * dims + d);
    }
  }
}

}  // namespace
}  // namespace roofline
