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

/// Reads with all of the pool's threads over more than the last-level cache
/// holds. The memory is mapped a part at a time, so that little of it is
/// resident at once.
Bandwidth measure_read_bandwidth(ThreadPool& pool);

/// Bytes read and written by a large elementwise op on MLX's default GPU.
Bandwidth measure_gpu_bandwidth();

}  // namespace roofline
