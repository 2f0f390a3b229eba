// Two registers of floats as one of pairs of bfloat16. Included by files
// compiled for AMX only.
#pragma once

#include "roofline/kernels/simd/avx512_intrinsics.h"

namespace roofline {
namespace {

/// Pairs (low[i], high[i]), rounded.
inline __m512i pairs_of(__m512 low, __m512 high) {
  const __m512i interleave = _mm512_set_epi32(
      0x001f000f,
      0x001e000e,
      0x001d000d,
      0x001c000c,
      0x001b000b,
      0x001a000a,
      0x00190009,
      0x00180008,
      0x00170007,
      0x00160006,
      0x00150005,
      0x00140004,
      0x00130003,
      0x00120002,
      0x00110001,
      0x00100000);
  return _mm512_permutexvar_epi16(
      interleave,
      (__m512i)_mm512_cvtne2ps_pbh(high, low));
}

/// 32 successive values, rounded.
inline __m512i rounded_pairs(__m512 first, __m512 second) {
  return (__m512i)_mm512_cvtne2ps_pbh(second, first);
}

}  // namespace
}  // namespace roofline
