#include "roofline/model/graph_norm.h"

#include <mlx/fast.h>
#include <mlx/ops.h>

#include "roofline/kernels/train_ops.h"

namespace roofline {

GraphNorm::GraphNorm(
    const NormSpec& spec,
    const GraphWeights& weights,
    const std::string& name,
    mx::Dtype input)
    : spec_(spec), own_kernels_(weights.own_kernels()) {
  if (spec.affine) {
    weight_ = weights.values(name);
    weight_hook_ = weights.hook(name);
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
    bias_hook_ = weights.hook(name + ".bias");
  }
  if (bias_) {
    bias_ = mx::astype(*bias_, input);
  }
}

/// What is stored, or the trained weight in its place.
std::optional<mx::array> GraphNorm::weight() const {
  if (!weight_hook_ || !weight_hook_->trained) {
    return weight_;
  }
  const auto& trained = *weight_hook_->trained;
  return spec_.plus_one ? mx::add(trained, mx::array(1.0f)) : trained;
}

mx::array GraphNorm::operator()(const mx::array& x, mx::Dtype output) const {
  auto scale = weight();
  std::optional<mx::array> head_scale = head_weight_;
  if (head_weight_ && scale) {  // trained
    head_scale.swap(scale);
    scale.reset();
  }
  const auto normed = [&] {
    if (spec_.kind == NormKind::layer) {
      const bool trained = bias_hook_ && bias_hook_->trained;
      const auto& bias = trained ? bias_hook_->trained : bias_;
      return mx::fast::layer_norm(x, scale, bias, spec_.eps);
    }
    return own_kernels_ ? rms_norm_rows(x, scale, spec_.eps)
                        : mx::fast::rms_norm(x, scale, spec_.eps);
  };
  auto y = normed();
  if (head_scale) {
    y = mx::multiply(y, *head_scale);
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
