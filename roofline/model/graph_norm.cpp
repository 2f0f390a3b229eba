#include "roofline/model/graph_norm.h"

#include <mlx/fast.h>
#include <mlx/ops.h>

namespace roofline {

GraphNorm::GraphNorm(
    const NormSpec& spec,
    const GraphWeights& weights,
    const std::string& name,
    mx::Dtype input)
    : spec_(spec) {
  if (spec.affine) {
    weight_ = weights.values(name);
  }
  if (weight_) {
    const auto one = mx::array(1.0f);
    weight_ =
        mx::astype(spec.plus_one ? mx::add(*weight_, one) : *weight_, input);
  }
  if (weight_ && weight_->ndim() == 2) {
    head_weight_.swap(weight_);
  }
  if (spec.bias) {
    bias_ = weights.vector(name + ".bias");
  }
  if (bias_) {
    bias_ = mx::astype(*bias_, input);
  }
}

mx::array GraphNorm::operator()(const mx::array& x, mx::Dtype output) const {
  auto y = spec_.kind == NormKind::rms
               ? mx::fast::rms_norm(x, weight_, spec_.eps)
               : mx::fast::layer_norm(x, weight_, bias_, spec_.eps);
  if (head_weight_) {
    y = mx::multiply(y, *head_weight_);
  }
  return mx::astype(y, output);
}

std::size_t GraphNorm::bytes() const {
  std::size_t sum = 0;
  for (const auto* each : {&weight_, &bias_, &head_weight_}) {
    sum += *each ? (*each)->nbytes() : 0;
  }
  return sum;
}

std::size_t norm_bytes(const std::optional<GraphNorm>& norm) {
  return norm ? norm->bytes() : 0;
}

}  // namespace roofline
