// The instruction sets' own tables, for scan.cpp only.
#pragma once

#include "roofline/kernels/recurrent/scan.h"

namespace roofline {

const ScanKernels& scan_generic();
#if defined(__x86_64__)
const ScanKernels& scan_avx2();
const ScanKernels& scan_avx512();
#endif

}  // namespace roofline
