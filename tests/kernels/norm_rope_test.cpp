#include "roofline/kernels/norm_rope/norm_rope.h"

#include <cmath>
#include <limits>
#include <string>

#include "kernels/isas.h"
#include "kernels/packed_helpers.h"

namespace roofline {
namespace {

using testing::random_floats;

/// Up to twice the widest vector and a bit, then some real sizes.
std::vector<int> sizes() {
  std::vector<int> all;
  for (int n = 1; n <= 35; ++n) {
    all.push_back(n);
  }
  all.insert(all.end(), {64, 80, 576, 1536});
  return all;
}

class RowKernelsTest : public testing::EveryIsa {
 protected:
  const RowKernels& kernels() { return row_kernels(); }
};

void expect_near(
    const std::vector<float>& actual,
    const std::vector<double>& expected,
    double relative,
    double absolute,
    const std::string& what) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double room = absolute + relative * std::abs(expected[i]);
    ASSERT_NEAR(actual[i], expected[i], room) << what << ", element " << i;
  }
}

TEST_P(RowKernelsTest, TheForcedVariantRuns) {
  EXPECT_EQ(
      row_kernels().name,
      testing::variant_name(GetParam(), row_kernels(GetParam()) != nullptr));
}

TEST_P(RowKernelsTest, RmsNormFollowsItsFormula) {
  for (const int n : sizes()) {
    const auto size = static_cast<std::size_t>(n);
    // One more, so that the rows can start off a vector's boundary.
    const auto x = random_floats(size + 1, 1, 3.0f);
    const auto weight = random_floats(size, 2);
    std::vector<float> out(size);
    double squares = 0;
    for (std::size_t i = 0; i < size; ++i) {
      squares += double{x[i + 1]} * x[i + 1];
    }
    std::vector<double> expected(size);
    for (std::size_t i = 0; i < size; ++i) {
      expected[i] = x[i + 1] / std::sqrt(squares / n + 1e-5) * weight[i];
    }
    kernels().rms_norm(x.data() + 1, weight.data(), 1e-5f, n, out.data());
    // The sum of n squares carries at most n/2 roundings, halved by the root.
    const double relative = (4 + n / 4.0) * 0x1p-24;
    expect_near(out, expected, relative, 0, "n = " + std::to_string(n));
  }
}

TEST_P(RowKernelsTest, RmsNormWorksInPlaceAndWithoutAWeight) {
  auto x = random_floats(37, 3);
  const auto ones = std::vector<float>(37, 1.0f);
  std::vector<float> expected(37);
  kernels().rms_norm(x.data(), ones.data(), 1e-6f, 37, expected.data());
  kernels().rms_norm(x.data(), nullptr, 1e-6f, 37, x.data());
  EXPECT_EQ(x, expected);
}

TEST_P(RowKernelsTest, LayerNormFollowsItsFormula) {
  for (const int n : sizes()) {
    const auto size = static_cast<std::size_t>(n);
    auto x = random_floats(size, 4);
    for (float& value : x) {
      value += 2.0f;
    }
    const auto weight = random_floats(size, 5);
    const auto bias = random_floats(size, 6);
    double mean = 0;
    for (const float value : x) {
      mean += value / double(n);
    }
    double variance = 0;
    for (const float value : x) {
      variance += (value - mean) * (value - mean) / n;
    }
    std::vector<double> expected(size);
    for (std::size_t i = 0; i < size; ++i) {
      expected[i] =
          (x[i] - mean) / std::sqrt(variance + 1e-5) * weight[i] + bias[i];
    }
    std::vector<float> out(size);
    kernels()
        .layer_norm(x.data(), weight.data(), bias.data(), 1e-5f, n, out.data());
    const double tiny_spread = 1 / std::sqrt(variance + 1e-5);
    const double room = (8 + n / 4.0) * 0x1p-24 * (1 + 4 * tiny_spread) * 4;
    expect_near(out, expected, room, room, "n = " + std::to_string(n));
  }
}

TEST_P(RowKernelsTest, RopeTurnsPairsByTheirAngle) {
  for (const auto layout : {RopeLayout::half_split, RopeLayout::interleaved}) {
    for (const int rotated : {8, 16, 20, 32, 64}) {
      const int dim = rotated + 8;
      const int heads = 3;
      RopeRegime regime;
      for (int i = 0; i < rotated / 2; ++i) {
        regime.frequencies.push_back(
            std::pow(100.0f, -2.0f * static_cast<float>(i) / rotated));
      }
      regime.magnitude = 1.25f;
      std::vector<float> cos(static_cast<std::size_t>(rotated));
      std::vector<float> sin(cos.size());
      fill_rope_row(regime, layout, 37, cos.data(), sin.data());
      auto x = random_floats(static_cast<std::size_t>(heads * dim), 7);
      std::vector<double> expected(x.begin(), x.end());
      for (int h = 0; h < heads; ++h) {
        for (int i = 0; i < rotated / 2; ++i) {
          const bool split = layout == RopeLayout::half_split;
          const auto a =
              static_cast<std::size_t>(h * dim + (split ? i : 2 * i));
          const auto b = a + static_cast<std::size_t>(split ? rotated / 2 : 1);
          const double angle =
              37.0f * regime.frequencies[static_cast<std::size_t>(i)];
          expected[a] =
              1.25 * (x[a] * std::cos(angle) - x[b] * std::sin(angle));
          expected[b] =
              1.25 * (x[b] * std::cos(angle) + x[a] * std::sin(angle));
        }
      }
      kernels()
          .rope(x.data(), heads, dim, rotated, layout, cos.data(), sin.data());
      expect_near(x, expected, 0, 4e-6, "dims " + std::to_string(rotated));
    }
  }
}

double activated(Activation activation, double x) {
  switch (activation) {
    case Activation::silu:
      return x / (1 + std::exp(-x));
    case Activation::gelu:
      return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
    case Activation::gelu_tanh:
      return 0.5 * x *
             (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case Activation::relu:
      return std::max(0.0, x);
    case Activation::relu_squared:
      return std::max(0.0, x) * std::max(0.0, x);
    default:  // tests/kernels/activations_test.cpp has the others
      ADD_FAILURE() << "another activation";
  }
  return 0;
}

TEST_P(RowKernelsTest, ActivationsFollowTheirFormulas) {
  for (const auto activation :
       {Activation::silu,
        Activation::gelu,
        Activation::gelu_tanh,
        Activation::relu,
        Activation::relu_squared}) {
    std::vector<float> gate;
    for (float x = -12.0f; x < 12.0f; x += 0.0371f) {
      gate.push_back(x);
    }
    const auto up = random_floats(gate.size(), 8);
    const int n = static_cast<int>(gate.size());
    std::vector<double> plain;
    std::vector<double> gated;
    for (std::size_t i = 0; i < gate.size(); ++i) {
      plain.push_back(activated(activation, gate[i]));
      gated.push_back(plain.back() * up[i]);
    }
    std::vector<float> out(gate.size());
    const std::string name = std::to_string(static_cast<int>(activation));
    kernels().activate(activation, gate.data(), nullptr, n, out.data());
    // exp's argument of up to 12 carries half an ulp, so exp 12 of them.
    expect_near(out, plain, 3e-6, 1e-9, "plain " + name);
    kernels().activate(activation, gate.data(), up.data(), n, out.data());
    expect_near(out, gated, 3e-6, 1e-9, "gated " + name);
  }
}

TEST_P(RowKernelsTest, ActivationsOfHugeValuesStayFinite) {
  std::vector<float> gate = {-1e30f, -200.0f, -90.0f, 90.0f, 200.0f, 1e9f};
  const std::vector<float> expected = {0, 0, 0, 90.0f, 200.0f, 1e9f};
  for (const auto activation :
       {Activation::silu, Activation::gelu, Activation::gelu_tanh}) {
    std::vector<float> out(gate.size());
    kernels().activate(activation, gate.data(), nullptr, 6, out.data());
    for (std::size_t i = 1; i < gate.size(); ++i) {
      EXPECT_NEAR(out[i], expected[i], 1e-6f * std::abs(gate[i])) << i;
    }
    EXPECT_LE(std::abs(out[0]), 1e-6f * 1e30f);
  }
}

TEST_P(RowKernelsTest, NotANumberStaysNotANumber) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> x(17, nan);
  std::vector<float> out(17);
  for (const auto activation :
       {Activation::silu, Activation::gelu, Activation::gelu_tanh}) {
    kernels().activate(activation, x.data(), nullptr, 17, out.data());
    EXPECT_TRUE(std::isnan(out[0]) && std::isnan(out[16]));
  }
  kernels().rms_norm(x.data(), nullptr, 1e-6f, 17, out.data());
  EXPECT_TRUE(std::isnan(out[3]));
}

TEST_P(RowKernelsTest, SumsScalesAndCaps) {
  for (const int n : sizes()) {
    const auto size = static_cast<std::size_t>(n);
    auto x = random_floats(size, 9, 20.0f);
    const auto y = random_floats(size, 10);
    std::vector<double> sums;
    std::vector<double> capped;
    for (std::size_t i = 0; i < size; ++i) {
      sums.push_back(x[i] + 0.22 * y[i]);
      capped.push_back(30.0 * std::tanh(sums.back() * 0.5 / 30.0));
    }
    kernels().add(x.data(), y.data(), 0.22f, n);
    expect_near(x, sums, 2e-7, 1e-5, "sum");
    kernels().scale_and_cap(x.data(), 0.5f, 30.0f, n);
    expect_near(x, capped, 1e-6, 1e-5, "cap");
  }
}

TEST_P(RowKernelsTest, HalvesAreRoundedToNearestEven) {
  for (const int n : sizes()) {
    auto x = random_floats(static_cast<std::size_t>(n), 11, 100.0f);
    x[0] = 70000.0f;                    // infinity
    x[x.size() / 2] = 1.0f + 0x1p-11f;  // a tie
    x.back() = 3e-7f;                   // subnormal
    std::vector<Half> out(x.size());
    kernels().to_half(x.data(), n, out.data());
    for (std::size_t i = 0; i < x.size(); ++i) {
      EXPECT_EQ(out[i], f32_to_f16(x[i])) << x[i];
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Variants,
    RowKernelsTest,
    ::testing::ValuesIn(testing::runnable_isas()),
    testing::isa_test_name);

}  // namespace
}  // namespace roofline
