// Which instruction sets this processor and operating system really allow, and
// which one the kernels use. ROOFLINE_ISA=generic|avx2|avx512 forces one.
#pragma once

#include <string>
#include <string_view>

namespace roofline {

/// In rising order; a kernel table has a variant for some of them.
enum class Isa {
  generic,
  avx2,    ///< AVX2 + FMA + F16C
  avx512,  ///< AVX-512 F, BW, VL, DQ + VNNI
};

std::string_view isa_name(Isa isa);
/// The best that this machine runs.
Isa best_isa();
/// best_isa(), or what ROOFLINE_ISA asks for. Throws UserError when that is
/// unknown or not available here. Read once.
Isa active_isa();
/// For tests: kernels take this one from now on. Must be <= best_isa().
void force_isa(Isa isa);
/// "AMD EPYC …", "Apple M2": the processor's own name.
std::string cpu_name();

}  // namespace roofline
