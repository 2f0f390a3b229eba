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

mx::array activated(const mx::array& x, Activation activation) {
  switch (activation) {
    case Activation::silu:
      return mx::multiply(x, mx::sigmoid(x));
    case Activation::gelu:
      return gelu(x);
    case Activation::gelu_tanh:
      return gelu_tanh(x);
    case Activation::relu:
      return mx::maximum(x, scalar_like(0.0, x));
    case Activation::relu_squared:
      return mx::square(mx::maximum(x, scalar_like(0.0, x)));
    case Activation::xielu:
      break;  // takes scalars beside x
  }
  return x;
}

mx::array softplus(const mx::array& x) {
  return mx::logaddexp(x, scalar_like(0.0, x));
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
