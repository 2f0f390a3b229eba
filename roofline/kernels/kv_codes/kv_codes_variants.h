// The instruction sets' own writers of codes. Reached through
// kv_code_kernels().
#pragma once

#include "roofline/kernels/kv_codes/kv_codes.h"

namespace roofline {

const KvCodeKernels& kv_code_kernels_avx2();
const KvCodeKernels& kv_code_kernels_avx512();
const KvCodeKernels& kv_code_kernels_neon();

}  // namespace roofline
