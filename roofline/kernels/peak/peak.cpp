#include "roofline/kernels/peak/peak.h"

#include "roofline/kernels/peak/peak_variants.h"

namespace roofline {

namespace {

constexpr int kLanes = 4;
constexpr int kSums = kPeakChains * kLanes;

// The compiler makes of it what the baseline offers: SSE2, or NEON.
std::int64_t run_generic(std::int64_t rounds) {
  float sums[kSums] = {};
  float factor = 0.5F;
  for (std::int64_t round = 0; round < rounds; ++round) {
    for (float& sum : sums) {
      sum = sum * factor + 1.0F;
    }
  }
  float total = 0;
  for (const float sum : sums) {
    total += sum;
  }
  return static_cast<std::int64_t>(total);
}

}  // namespace

PeakKind product_peak(bool codes, Isa isa) {
  return isa == Isa::amx ? PeakKind::bfloat16
         : codes         ? PeakKind::int8
                         : PeakKind::float32;
}

PeakKernel peak_kernel([[maybe_unused]] PeakKind kind, Isa isa) {
  switch (isa) {
#if defined(__x86_64__)
    case Isa::amx:
      // Products in codes are AVX-512's there too: tiles take bfloat16.
      return kind != PeakKind::bfloat16 ? peak_avx512(kind)
             : isa_runs(Isa::amx)       ? peak_amx()
                                        : peak_emulated_amx();
    case Isa::avx512:
      return peak_avx512(kind);
    case Isa::avx2:
      return peak_avx2(kind);
#elif defined(__aarch64__)
    case Isa::i8mm:
      return peak_i8mm(kind);
    case Isa::neon:
      return peak_neon(kind);
#endif
    default:
      break;
  }
  return {run_generic, std::int64_t{2} * kSums};
}

}  // namespace roofline
