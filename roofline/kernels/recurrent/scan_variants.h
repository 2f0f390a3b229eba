// The instruction sets' own tables, for scan.cpp only.
#pragma once

#include "roofline/kernels/recurrent/scan.h"

namespace roofline {

const ScanKernels& scan_generic();
const ScanKernels& scan_avx2();
const ScanKernels& scan_avx512();
const ScanKernels& scan_neon();

}  // namespace roofline
