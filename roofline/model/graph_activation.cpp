#include "roofline/model/graph_activation.h"

#include <cmath>

#include <mlx/compile.h>
#include <mlx/ops.h>

#include "roofline/model/graph_types.h"

namespace roofline {

namespace {

mx::array gelu(const mx::array& x) {
  const auto inner = mx::erf(mx::multiply(x, scalar_like(M_SQRT1_2, x)));
  const auto half = mx::multiply(x, scalar_like(0.5, x));
  return mx::multiply(half, mx::add(inner, scalar_like(1.0, x)));
}

mx::array gelu_tanh(const mx::array& x) {
  const auto cube = mx::multiply(mx::multiply(x, x), x);
  const auto sum = mx::add(x, mx::multiply(cube, scalar_like(0.044715, x)));
  const double sqrt_2_over_pi = M_2_SQRTPI * M_SQRT1_2;
  const auto inner =
      mx::tanh(mx::multiply(sum, scalar_like(sqrt_2_over_pi, x)));
  const auto half = mx::multiply(x, scalar_like(0.5, x));
  return mx::multiply(half, mx::add(inner, scalar_like(1.0, x)));
}

mx::array clamped(const mx::array& x, double low, double high) {
  return mx::minimum(mx::maximum(x, scalar_like(low, x)), scalar_like(high, x));
}

mx::array times(const mx::array& x, double factor) {
  return mx::multiply(x, scalar_like(factor, x));
}

mx::array plus(const mx::array& x, double term) {
  return mx::add(x, scalar_like(term, x));
}

}  // namespace

mx::array softplus(const mx::array& x) {
  return mx::logaddexp(x, scalar_like(0.0, x));
}

namespace {

mx::array laplace(const mx::array& x) {
  const auto normal = times(plus(x, -0.707107), M_SQRT1_2 / 0.282095);
  return times(plus(mx::erf(normal), 1.0), 0.5);
}

mx::array activated(const mx::array& x, Activation activation) {
  const auto zero = scalar_like(0.0, x);
  switch (activation) {
    case Activation::silu:
      return mx::multiply(x, mx::sigmoid(x));
    case Activation::gelu:
      return gelu(x);
    case Activation::gelu_tanh:
      return gelu_tanh(x);
    case Activation::relu:
      return mx::maximum(x, zero);
    case Activation::relu_squared:
      return mx::square(mx::maximum(x, zero));
    case Activation::quick_gelu:
      return mx::multiply(x, mx::sigmoid(times(x, 1.702)));
    case Activation::clipped_gelu:
      return clamped(gelu(x), -10.0, 10.0);
    case Activation::mish:
      return mx::multiply(x, mx::tanh(softplus(x)));
    case Activation::hard_swish:
      return mx::multiply(x, times(clamped(plus(x, 3.0), 0.0, 6.0), 1.0 / 6.0));
    case Activation::leaky_relu:
      return mx::where(mx::less(x, zero), times(x, 0.01), x);
    case Activation::relu6:
      return clamped(x, 0.0, 6.0);
    case Activation::tanh:
      return mx::tanh(x);
    case Activation::sigmoid:
      return mx::sigmoid(x);
    case Activation::laplace:
      return laplace(x);
    case Activation::identity:
    case Activation::xielu:  // takes scalars beside x
      break;
  }
  return x;
}

/// arXiv 2411.13010, as the reference has it: x > 0: αp·x² + β·x, else
/// αn·(expm1(min(x, ε)) − x) + β·x.
mx::array xielu(const std::vector<mx::array>& in) {
  const auto& x = in[0];
  const auto as = [&](std::size_t i) { return mx::astype(in[i], x.dtype()); };
  const auto beta = as(3);
  const auto linear = mx::multiply(beta, x);
  const auto above = mx::multiply(softplus(as(1)), mx::square(x));
  const auto alpha_n = mx::add(beta, softplus(as(2)));
  const auto below =
      mx::multiply(mx::subtract(mx::expm1(mx::minimum(x, as(4))), x), alpha_n);
  const auto positive = mx::greater(x, scalar_like(0.0, x));
  return mx::add(mx::where(positive, above, below), linear);
}

}  // namespace

GraphFunction make_activate(Activation activation, bool fuse) {
  const GraphFunction plain = [activation](const std::vector<mx::array>& in) {
    if (activation == Activation::xielu) {
      return std::vector<mx::array>{xielu(in)};
    }
    auto y = activated(in[0], activation);
    return std::vector<mx::array>{in.size() == 1 ? y : mx::multiply(y, in[1])};
  };
  return fuse ? mx::compile(plain, /* shapeless = */ true) : plain;
}

}  // namespace roofline
