// Asking for the weights' stream before it is read, on x86. Included by the
// files of AVX2 and AVX-512.
#pragma once

#include <xmmintrin.h>

#include <cstddef>

#include "roofline/kernels/packed_matrix.h"

namespace roofline {

namespace {

/// Few tokens are bound by memory: the stream is asked for so far ahead. This
/// crosses pages, which the hardware's own prefetch doesn't, and keeps enough
/// lines under way: on a Zen 5 a thread reads 34 GB/s with 2 KB, 48 with 8 KB.
constexpr int kFewTokens = 4;
constexpr int kAhead = 8192;

inline void prefetch_soon(const std::byte* at) {
  _mm_prefetch(reinterpret_cast<const char*>(at), _MM_HINT_T0);
}

/// Asks for what is read kAhead bytes later: a group's codes and its unit's
/// scales.
template <PackedFormat kFormat>
inline void ask_ahead(
    const BlockGroups& block,
    const std::byte* codes,
    int group) {
  const std::byte* scales = block.unit(group) + kAhead;
  for (int i = 0; i < scale_sets(kFormat); ++i) {
    prefetch_soon(scales + 64 * i);
  }
  for (int i = 0; i < code_bytes(kFormat); i += 64) {
    prefetch_soon(codes + kAhead + i);
  }
}

}  // namespace

}  // namespace roofline
