// The instruction sets' own tables, for dense.cpp only.
#pragma once

#include "roofline/kernels/dense/dense.h"

namespace roofline {

const DenseKernels& dense_generic();
const DenseKernels& dense_avx2();
const DenseKernels& dense_avx512();
const DenseKernels& dense_neon();

}  // namespace roofline
