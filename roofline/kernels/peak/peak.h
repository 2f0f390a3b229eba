// The arithmetic that this processor's cores can do when nothing waits for
// memory: chains of the very instructions that the matrix products use, on
// registers only.
#pragma once

#include <cstdint>

#include "roofline/base/cpu_features.h"

namespace roofline {

enum class PeakKind {
  /// 8-bit products summed in 32 bits (AVX-512 VNNI, with AMX too; vpmaddubsw
  /// on AVX2; sdot on NEON; smmla on i8mm).
  int8,
  /// Fused multiply-adds of float32.
  float32,
  /// Products of bfloat16 summed in float32, on tiles (AMX); elsewhere float32.
  bfloat16,
};

struct PeakKernel {
  /// Runs `rounds` rounds on the calling thread; the value depends on all of
  /// them and means nothing.
  std::int64_t (*run)(std::int64_t rounds) = nullptr;
  /// Additions and multiplications of one round.
  std::int64_t operations = 0;
};

/// What bounds a prompt's products in the fast path, with weights in codes or
/// not.
PeakKind product_peak(bool codes, Isa isa = active_isa());

/// Never empty: an instruction set without a chain of its own has that of the
/// generic build, which multiplies and adds floats.
PeakKernel peak_kernel(PeakKind kind, Isa isa = active_isa());

}  // namespace roofline
