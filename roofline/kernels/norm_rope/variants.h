// The instruction sets' tables of row kernels; norm_rope.cpp chooses.
#pragma once

#include "roofline/kernels/norm_rope/norm_rope.h"

namespace roofline {

const RowKernels& row_kernels_generic();
const RowKernels& row_kernels_avx2();
const RowKernels& row_kernels_avx512();
const RowKernels& row_kernels_neon();

}  // namespace roofline
