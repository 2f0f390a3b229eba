// The right side of a general product becomes panels: a block of b, in any
// format and either orientation, as floats in the order in which the inner loop
// reads them. Multiplies nothing.
#pragma once

#include <cstddef>

#include "roofline/base/thread_pool.h"
#include "roofline/kernels/aligned_buffer.h"
#include "roofline/kernels/gemm/gemm.h"

namespace roofline {

/// A block of b: depth [k, k + depth), columns [n, n + width).
struct GemmBlock {
  int k = 0;
  int depth = 0;
  int n = 0;
  int width = 0;

  int panels(int panel) const { return (width + panel - 1) / panel; }
};

/// Room for count floats in memory that one thread's products share.
inline float* floats_of(AlignedBuffer<float>& buffer, std::size_t count) {
  buffer.grow(count);
  return buffer.data();
}

/// out [panels][depth][panel]; columns past the block's width are zero.
void pack_panels(
    const GemmRight& b,
    const GemmBlock& block,
    const GemmKernels& kernels,
    float* out,
    ThreadPool& pool);

}  // namespace roofline
