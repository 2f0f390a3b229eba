#include "roofline/model/graph_types.h"

#include <mlx/ops.h>

namespace roofline {

mx::array columns(const mx::array& x, int begin, int count) {
  return mx::slice(x, {0, begin}, {x.shape(0), begin + count});
}

mx::array scalar_like(double value, const mx::array& x) {
  return mx::array(static_cast<float>(value), x.dtype());
}

}  // namespace roofline
