#include "roofline/kernels/recurrent/scan.h"

#include "roofline/kernels/recurrent/scan_variants.h"

namespace roofline {

const ScanKernels* scan_kernels(Isa isa) {
  switch (isa) {
#if defined(__x86_64__)
    case Isa::avx512:
      return &scan_avx512();
    case Isa::avx2:
      return &scan_avx2();
#else
    case Isa::avx512:
    case Isa::avx2:
      return nullptr;
#endif
    case Isa::generic:
      break;
  }
  return &scan_generic();
}

const ScanKernels& scan_kernels() {
  const ScanKernels* best = scan_kernels(active_isa());
  return best != nullptr ? *best : scan_generic();
}

}  // namespace roofline
