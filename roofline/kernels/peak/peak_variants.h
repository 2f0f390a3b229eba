// The instruction sets' own chains, for peak.cpp only.
#pragma once

#include "roofline/kernels/peak/peak.h"

namespace roofline {

#if defined(__x86_64__)
PeakKernel peak_avx2(PeakKind kind);
PeakKernel peak_avx512(PeakKind kind);
#endif

/// Sums that don't wait for each other: enough to fill the latency of the
/// instruction (4 to 5 cycles, two a cycle).
inline constexpr int kPeakChains = 12;

}  // namespace roofline
