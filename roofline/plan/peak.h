// Measures arithmetic: the roof of what bytes don't bound, such as prefill.
#pragma once

#include "roofline/base/thread_pool.h"
#include "roofline/kernels/peak/peak.h"

namespace roofline {

/// Operations a second (a multiply-add counts as two) of all of the pool's
/// threads together, on registers. Takes about 50 ms. The best of several
/// readings: a neighbour can only make one slower.
double measure_peak_operations(ThreadPool& pool, PeakKind kind);

/// Of a large 16-bit matrix product on MLX's default GPU.
double measure_gpu_peak_operations();

}  // namespace roofline
