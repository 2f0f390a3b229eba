// The instruction sets' own chains, for peak.cpp only.
#pragma once

#include "roofline/kernels/peak/peak.h"

namespace roofline {

PeakKernel peak_avx2(PeakKind kind);
PeakKernel peak_avx512(PeakKind kind);
/// Of bfloat16: no kernel multiplies bytes on tiles.
PeakKernel peak_amx();
PeakKernel peak_emulated_amx();
PeakKernel peak_neon(PeakKind kind);
PeakKernel peak_i8mm(PeakKind kind);

/// Sums that don't wait for each other: enough to fill the latency of the
/// instruction (4 to 5 cycles, two a cycle).
inline constexpr int kPeakChains = 12;

/// So many sums, each with a name of its own: compilers keep an array that a
/// loop walks over in memory, and then its loads and stores are what is
/// measured.
template <class V>
struct PeakSums {
  V a{}, b{}, c{}, d{}, e{}, f{}, g{}, h{}, i{}, j{}, k{}, l{};

  template <class Step>
  void each(Step step) {
    step(a), step(b), step(c), step(d), step(e), step(f);
    step(g), step(h), step(i), step(j), step(k), step(l);
  }
};

}  // namespace roofline
