#include "roofline/decode/logit_row.h"

#include <mlx/ops.h>

namespace roofline {

void read_logit_row(
    mx::array& logits,
    std::size_t row,
    std::vector<float>& out) {
  logits.eval();
  if (!logits.flags().row_contiguous) {
    logits = mx::contiguous(logits);
    logits.eval();
  }
  const auto vocab = static_cast<std::size_t>(logits.shape(-1));
  const float* data = logits.data<float>() + row * vocab;
  out.assign(data, data + vocab);
}

}  // namespace roofline
