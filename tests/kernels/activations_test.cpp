#include "kernels/activations.h"

#include <cmath>

#include "kernels/isas.h"
#include "roofline/kernels/norm_rope/norm_rope.h"
#include "roofline/kernels/row_grads/row_grads.h"

namespace roofline {
namespace {

using testing::ActivationCase;

// Arguments of exp up to 87 carry their rounding, half an ulp of 87, into the
// results; polynomials and tails add a few more.
constexpr double kRelative = 1e-5;
constexpr double kAbsolute = 2e-7;

class ActivationsTest : public testing::EveryIsa {
 protected:
  static void expect_near(
      const std::vector<float>& actual,
      const std::vector<double>& expected,
      const ActivationCase& from) {
    for (std::size_t i = 0; i < expected.size(); ++i) {
      EXPECT_NEAR(
          actual[i],
          expected[i],
          kAbsolute + kRelative * std::abs(expected[i]))
          << from.name << " of " << from.x[i];
    }
  }
};

TEST_P(ActivationsTest, EveryNameComputesWhatTorchDoes) {
  for (const ActivationCase& from : testing::activation_cases()) {
    std::vector<float> out(from.x.size());
    row_kernels().activate(
        from.activation,
        from.x.data(),
        nullptr,
        static_cast<int>(out.size()),
        out.data());
    expect_near(out, from.y, from);
  }
}

TEST_P(ActivationsTest, EveryNameHasTheSlopeThatTorchFinds) {
  for (const ActivationCase& from : testing::activation_cases()) {
    const std::vector<float> ones(from.x.size(), 1.0f);
    std::vector<float> out(from.x.size());
    row_grad_kernels().activate_grad(
        from.activation,
        from.x.data(),
        nullptr,
        ones.data(),
        static_cast<int>(out.size()),
        out.data(),
        nullptr);
    expect_near(out, from.slope, from);
  }
}

TEST_P(ActivationsTest, AGateMultipliesAndHasItsOwnGradient) {
  for (const ActivationCase& from : testing::activation_cases()) {
    const auto n = static_cast<int>(from.x.size());
    const std::vector<float> up(from.x.size(), -0.5f), dh(from.x.size(), 2.0f);
    std::vector<float> out(from.x.size()), d_gate(out), d_up(out);
    row_kernels()
        .activate(from.activation, from.x.data(), up.data(), n, out.data());
    row_grad_kernels().activate_grad(
        from.activation,
        from.x.data(),
        up.data(),
        dh.data(),
        n,
        d_gate.data(),
        d_up.data());
    for (int i = 0; i < n; ++i) {
      out[i] *= -2.0f;
      d_gate[i] *= -1.0f;
      d_up[i] *= 0.5f;
    }
    expect_near(out, from.y, from);
    expect_near(d_gate, from.slope, from);
    expect_near(d_up, from.y, from);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Variants,
    ActivationsTest,
    ::testing::ValuesIn(testing::runnable_isas()),
    testing::isa_test_name);

}  // namespace
}  // namespace roofline
