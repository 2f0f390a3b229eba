// What a checkpoint's weights take: bytes, and bits for each weight with all
// scales and biases counted.
#pragma once

#include <cstdint>

#include "roofline/weights/checkpoint.h"

namespace roofline {

struct ModelSize {
  std::uint64_t bytes = 0;  ///< of all tensors
  std::int64_t weights = 0;
  double bits_per_weight() const {
    return weights == 0 ? 0
                        : 8.0 * static_cast<double>(bytes) /
                              static_cast<double>(weights);
  }
};

inline ModelSize size_of(const Checkpoint& checkpoint) {
  ModelSize size;
  for (const Tensor& tensor : checkpoint.tensors()) {
    size.bytes += tensor.total_bytes();
    size.weights += tensor.rows * tensor.cols;
  }
  return size;
}

}  // namespace roofline
