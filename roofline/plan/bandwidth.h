// Measures memory bandwidth: of the CPU's threads by reading, of a GPU by a
// copy through MLX.
#pragma once

#include <cstddef>

#include "roofline/base/thread_pool.h"

namespace roofline {

struct Bandwidth {
  double bytes_per_second = 0;
  std::size_t working_set_bytes = 0;
};

/// Reads with all of the pool's threads what lies in no cache, in the quickest
/// of several ways, for less than `seconds` (and first readings) and with 16 MB
/// of memory (256 MB where a program can't empty the caches).
Bandwidth measure_read_bandwidth(ThreadPool& pool, double seconds = 0.4);

/// Bytes read and written by a large elementwise op on MLX's default GPU.
Bandwidth measure_gpu_bandwidth();

}  // namespace roofline
