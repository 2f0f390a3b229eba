#include "roofline/kernels/peak/peak_arm_impl.h"

namespace roofline {

namespace {

std::int64_t run_sdot(std::int64_t rounds) {
  return run_bytes(rounds, [](int32x4_t sum, int8x16_t a, int8x16_t b) {
    return vdotq_s32(sum, a, b);
  });
}

}  // namespace

PeakKernel peak_neon(PeakKind kind) {
  return arm_peak(kind, run_sdot, 16);
}

}  // namespace roofline
