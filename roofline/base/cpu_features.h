// Which instruction sets this processor and operating system really allow, and
// which one the kernels use. ROOFLINE_ISA=generic|avx2|avx512|neon|i8mm forces
// one.
#pragma once

#include <array>
#include <span>
#include <string>
#include <string_view>

namespace roofline {

/// Each processor family's in rising order; a kernel table has a variant for
/// some of them.
enum class Isa {
  generic,
  avx2,    ///< x86: AVX2 + FMA + F16C
  avx512,  ///< x86: AVX-512 F, BW, VL, DQ + VNNI
  neon,    ///< Arm: NEON + dot products of bytes (Armv8.2)
  i8mm,    ///< Arm: + matrix products of bytes, products of bf16 (Armv8.6)
};

inline constexpr std::array kAllIsas =
    {Isa::generic, Isa::avx2, Isa::avx512, Isa::neon, Isa::i8mm};

std::string_view isa_name(Isa isa);
/// The best that this machine runs.
Isa best_isa();
/// All that this machine runs, in rising order: generic first.
std::span<const Isa> runnable_isas();
bool isa_runs(Isa isa);
/// best_isa(), or what ROOFLINE_ISA asks for. Throws UserError when that is
/// unknown or not available here. Read once.
Isa active_isa();
/// For tests: kernels take this one from now on. isa_runs(isa) must hold.
void force_isa(Isa isa);
/// "AMD EPYC …", "Apple M2": the processor's own name.
std::string cpu_name();

}  // namespace roofline
