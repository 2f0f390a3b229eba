#include "roofline/kernels/dense/dense_impl.h"
#include "roofline/kernels/simd/avx512_intrinsics.h"

namespace roofline {

namespace {

struct Avx512 {
  using Register = __m512;
  static constexpr int kWidth = 16;
  static constexpr int kRows = 4;  ///< 4 × 4 sums leave room for w and x
  static constexpr int kSingleTokens = 4;
  static constexpr int kFewRows = 2;  ///< 2 × 2 × 4 sums too
  static constexpr int kFewTokens = 2;

  static Register zero() { return _mm512_setzero_ps(); }
  static Register fma(Register a, Register b, Register c) {
    return _mm512_fmadd_ps(a, b, c);
  }
  static float sum(Register v) { return _mm512_reduce_add_ps(v); }

  template <PackedFormat kFormat>
  static Register load(const std::byte* from) {
    if constexpr (kFormat == PackedFormat::f32) {
      return _mm512_loadu_ps(from);
    } else {
      return widen<kFormat>(
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
    }
  }

  template <PackedFormat kFormat>
  static Register load_part(const std::byte* from, int count) {
    const auto mask = static_cast<__mmask16>((1u << count) - 1);
    if constexpr (kFormat == PackedFormat::f32) {
      return _mm512_maskz_loadu_ps(mask, from);
    } else {
      return widen<kFormat>(_mm256_maskz_loadu_epi16(mask, from));
    }
  }

 private:
  template <PackedFormat kFormat>
  static Register widen(__m256i halves) {
    if constexpr (kFormat == PackedFormat::f16) {
      return _mm512_cvtph_ps(halves);
    } else {
      return _mm512_castsi512_ps(
          _mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
    }
  }
};

}  // namespace

const DenseKernels& dense_avx512() {
  static constexpr DenseKernels kKernels{"avx512", dense_product<Avx512>};
  return kKernels;
}

}  // namespace roofline
