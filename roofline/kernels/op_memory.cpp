#include "roofline/kernels/op_memory.h"

#include <mlx/transforms.h>

namespace roofline {

void wait_if_large(const std::vector<mx::array>& outputs, mx::Stream stream) {
  std::size_t bytes = 0;
  for (const auto& output : outputs) {
    bytes += output.nbytes();
  }
  if (bytes >= kLargeOutputBytes) {
    mx::synchronize(stream);
  }
}

}  // namespace roofline
