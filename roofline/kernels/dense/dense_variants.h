// The instruction sets' own tables, for dense.cpp only.
#pragma once

#include "roofline/kernels/dense/dense.h"

namespace roofline {

const DenseKernels& dense_generic();
#if defined(__x86_64__)
const DenseKernels& dense_avx2();
const DenseKernels& dense_avx512();
#endif

}  // namespace roofline
