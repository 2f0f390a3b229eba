// The instruction sets' own tables, for qmm.cpp only.
#pragma once

#include "roofline/kernels/qmm/qmm.h"

namespace roofline {

const QmmKernels& qmm_generic();
#if defined(__x86_64__)
const QmmKernels& qmm_avx2();
const QmmKernels& qmm_avx512();
#endif

/// Groups below this magnitude are taken for zero: kMostCode / absmax would
/// overflow.
constexpr float kZeroGroup = 1e-30f;

}  // namespace roofline
