#include <immintrin.h>

#include <cstring>

#include "roofline/kernels/dense/dense_impl.h"

namespace roofline {

namespace {

struct Avx2 {
  using Register = __m256;
  static constexpr int kWidth = 8;
  static constexpr int kRows = 3;  ///< 3 × 4 sums, three of w and one of x
  static constexpr int kSingleTokens = 2;  ///< 2 × 4 sums too
  static constexpr int kFewRows = 1;
  static constexpr int kFewTokens = 2;

  static Register zero() { return _mm256_setzero_ps(); }
  static Register fma(Register a, Register b, Register c) {
    return _mm256_fmadd_ps(a, b, c);
  }
  static float sum(Register v) {
    __m128 s =
        _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    s = _mm_add_ss(s, _mm_movehdup_ps(s));
    return _mm_cvtss_f32(s);
  }

  template <PackedFormat kFormat>
  static Register load(const std::byte* from) {
    if constexpr (kFormat == PackedFormat::f32) {
      return _mm256_loadu_ps(reinterpret_cast<const float*>(from));
    } else if constexpr (kFormat == PackedFormat::f16) {
      return _mm256_cvtph_ps(
          _mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
    } else {
      return _mm256_castsi256_ps(_mm256_slli_epi32(
          _mm256_cvtepu16_epi32(
              _mm_loadu_si128(reinterpret_cast<const __m128i*>(from))),
          16));
    }
  }

  template <PackedFormat kFormat>
  static Register load_part(const std::byte* from, int count) {
    alignas(32) std::byte values[kWidth * 4] = {};
    std::memcpy(
        values,
        from,
        static_cast<std::size_t>(count) *
            static_cast<std::size_t>(kBytes<kFormat>));
    return load<kFormat>(values);
  }
};

}  // namespace

const DenseKernels& dense_avx2() {
  static constexpr DenseKernels kKernels{"avx2", dense_product<Avx2>};
  return kKernels;
}

}  // namespace roofline
