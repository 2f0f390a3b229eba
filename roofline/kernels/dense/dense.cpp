#include "roofline/kernels/dense/dense.h"

#include "roofline/kernels/dense/dense_variants.h"

namespace roofline {

const DenseKernels* dense_kernels(Isa isa) {
  switch (isa) {
#if defined(__x86_64__)
    case Isa::avx512:
      return &dense_avx512();
    case Isa::avx2:
      return &dense_avx2();
#else
    case Isa::avx512:
    case Isa::avx2:
      return nullptr;
#endif
    case Isa::generic:
      break;
  }
  return &dense_generic();
}

const DenseKernels& dense_kernels() {
  const DenseKernels* best = dense_kernels(active_isa());
  return best != nullptr ? *best : dense_generic();
}

}  // namespace roofline
