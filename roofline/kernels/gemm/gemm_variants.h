// The variants that this build has; gemm.cpp picks one.
#pragma once

#include "roofline/kernels/gemm/gemm.h"

namespace roofline {

const GemmKernels& gemm_generic();
const GemmKernels& gemm_avx2();
const GemmKernels& gemm_avx512();
const GemmKernels& gemm_neon();

}  // namespace roofline
