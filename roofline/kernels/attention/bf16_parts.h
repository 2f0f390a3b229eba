// What both kernels of attention in bfloat16 share: AVX-512's and the tiles'.
// Included by the files of either.
#pragma once

#include <cstddef>

#include "roofline/kernels/attention/task.h"
#include "roofline/kernels/simd/vec_avx512.h"

namespace roofline {
namespace {

constexpr float kLog2E = 1.44269504f;
constexpr float kMinusInfinity = -__builtin_inff();

/// Row r's query or output: token by token, a group's heads in turn.
template <class T>
T* row_at(const AttentionTask& task, T* base, int stride, int r) {
  const int group = task.group();
  const std::ptrdiff_t token = task.token_begin + r / group;
  const std::ptrdiff_t head = task.kv_head * group + r % group;
  return base + token * stride + head * task.args->kv.head_dim;
}

}  // namespace
}  // namespace roofline
