#include "roofline/model/graph_head.h"

#include <mlx/ops.h>

namespace roofline {

mx::array scaled_logits(mx::array y, const ModelSpec& spec) {
  if (spec.logit_scale != 1.0f) {
    y = mx::multiply(y, mx::array(spec.logit_scale));
  }
  if (spec.logit_softcap) {
    const mx::array cap(*spec.logit_softcap);
    y = mx::multiply(mx::tanh(mx::divide(y, cap)), cap);
  }
  return y;
}

}  // namespace roofline
