// The instruction sets' own chains, for peak.cpp only.
#pragma once

#include "roofline/kernels/peak/peak.h"

namespace roofline {

PeakKernel peak_avx2(PeakKind kind);
PeakKernel peak_avx512(PeakKind kind);
PeakKernel peak_neon(PeakKind kind);
PeakKernel peak_i8mm(PeakKind kind);

/// Sums that don't wait for each other: enough to fill the latency of the
/// instruction (4 to 5 cycles, two a cycle).
inline constexpr int kPeakChains = 12;

}  // namespace roofline
