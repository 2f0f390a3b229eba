#include "roofline/model/graph_activation.h"

#include <cmath>

#include <gtest/gtest.h>

#include <mlx/ops.h>
#include <mlx/transforms.h>

#include "kernels/activations.h"

namespace roofline {
namespace {

using testing::ActivationCase;

void expect_near(
    mx::array actual,
    const std::vector<double>& expected,
    const ActivationCase& from) {
  actual = mx::contiguous(actual);
  mx::eval(actual);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    // erf and tanh near ±1 lose what is left of one.
    EXPECT_NEAR(
        actual.data<float>()[i],
        expected[i],
        3e-6 + 1e-5 * std::abs(expected[i]))
        << from.name << " of " << from.x[i];
  }
}

TEST(GraphActivation, EveryNameComputesWhatTorchDoesWithItsSlope) {
  const mx::StreamContext on_cpu(mx::Device::cpu);
  for (const ActivationCase& from : testing::activation_cases()) {
    const mx::array x(
        from.x.begin(),
        mx::Shape{static_cast<int>(from.x.size())},
        mx::float32);
    const auto act = make_activate(from.activation, /* fuse = */ false);
    expect_near(act({x})[0], from.y, from);
    const auto slope =
        mx::grad([&](const mx::array& in) { return mx::sum(act({in})[0]); })(x);
    expect_near(slope, from.slope, from);
    const auto half = mx::multiply(mx::ones_like(x), mx::array(0.5f));
    expect_near(mx::multiply(act({x, half})[0], mx::array(2.0f)), from.y, from);
  }
}

}  // namespace
}  // namespace roofline
