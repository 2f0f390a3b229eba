// Which instruction sets this processor and operating system really allow, and
// which one the kernels use. ROOFLINE_ISA=generic|avx2|avx512|amx|neon|i8mm
// forces one.
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
  amx,     ///< x86: + AVX-512 BF16, matrix tiles of bf16 and bytes
  neon,    ///< Arm: NEON + dot products of bytes (Armv8.2)
  i8mm,    ///< Arm: + matrix products of bytes, products of bf16 (Armv8.6)
};

inline constexpr std::array kAllIsas =
    {Isa::generic, Isa::avx2, Isa::avx512, Isa::amx, Isa::neon, Isa::i8mm};

std::string_view isa_name(Isa isa);
/// The best that this machine runs. Asks Linux once a process for the use of
/// AMX's tiles, which it can refuse.
Isa best_isa();
/// Whether the processor has AMX that the system doesn't let us use.
bool amx_refused();
/// All that this machine runs, in rising order: generic first.
std::span<const Isa> runnable_isas();
bool isa_runs(Isa isa);
/// best_isa(), or what ROOFLINE_ISA asks for. Throws UserError when that is
/// unknown or not available here. Read once.
Isa active_isa();
/// For tests: kernels take this one from now on. can_force(isa) must hold.
void force_isa(Isa isa);
/// Whether it runs, or is amx on a machine without it whose AVX-512 can emulate
/// tiles (kernels/simd/tiles.h): slow, and the same kernels.
bool can_force(Isa isa);
/// Whether a stream that is asked for to be read once (prefetchnta) comes as
/// quickly as one that is kept. Not on Intel's processors: a Xeon (Emerald
/// Rapids) took three times as long for it.
extern const bool kStreamsOnce;
/// "AMD EPYC …", "Apple M2": the processor's own name.
std::string cpu_name();

}  // namespace roofline
