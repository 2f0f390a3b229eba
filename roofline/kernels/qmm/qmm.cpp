#include "roofline/kernels/qmm/qmm.h"

#include "roofline/kernels/qmm/qmm_variants.h"

namespace roofline {

const QmmKernels* qmm_kernels(Isa isa) {
  switch (isa) {
#if defined(__x86_64__)
    case Isa::avx512:
      return &qmm_avx512();
    case Isa::avx2:
      return &qmm_avx2();
#else
    case Isa::avx512:
    case Isa::avx2:
      return nullptr;
#endif
    case Isa::generic:
      break;
  }
  return &qmm_generic();
}

const QmmKernels& qmm_kernels() {
  const QmmKernels* best = qmm_kernels(active_isa());
  return best != nullptr ? *best : qmm_generic();
}

}  // namespace roofline
