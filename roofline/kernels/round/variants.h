// The variants that this build has; round.cpp picks one.
#pragma once

#include "roofline/kernels/round/round.h"

namespace roofline {

const RoundKernels& round_generic();
const RoundKernels& round_avx2();
const RoundKernels& round_avx512();
const RoundKernels& round_neon();

}  // namespace roofline
