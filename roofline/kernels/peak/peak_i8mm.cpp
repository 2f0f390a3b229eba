#include "roofline/kernels/peak/peak_arm_impl.h"

namespace roofline {

namespace {

std::int64_t run_smmla(std::int64_t rounds) {
  return run_bytes(rounds, [](int32x4_t sum, int8x16_t a, int8x16_t b) {
    return vmmlaq_s32(sum, a, b);
  });
}

}  // namespace

PeakKernel peak_i8mm(PeakKind kind) {
  return arm_peak(kind, run_smmla, 32);
}

}  // namespace roofline
