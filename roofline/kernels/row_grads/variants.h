// The variants that this build has; row_grads.cpp picks one.
#pragma once

#include "roofline/kernels/row_grads/row_grads.h"

namespace roofline {

const RowGradKernels& row_grads_generic();
const RowGradKernels& row_grads_avx2();
const RowGradKernels& row_grads_avx512();
const RowGradKernels& row_grads_neon();

}  // namespace roofline
