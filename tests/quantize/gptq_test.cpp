#include "roofline/quantize/gptq.h"

#include <gtest/gtest.h>

#include "quantize/helpers.h"
#include "roofline/quantize/refine.h"

namespace roofline {
namespace {

using testing::kFour;

const MatrixFormat kThree{QuantMode::affine, 3, 64};

TEST(Gptq, WithInputsThatDontHangTogetherIsRounding) {
  const auto weights = testing::random_matrix(9, 192, 1);
  SquareMatrix moments{192, std::vector<float>(192 * 192, 0.0f)};
  std::vector<float> diagonal;
  for (int i = 0; i < 192; ++i) {
    // Powers of four, so that roots and inverses are exact.
    moments.at(i, i) = i % 3 == 0 ? 4.0f : i % 3 == 1 ? 1.0f : 0.25f;
    diagonal.push_back(moments.at(i, i));
  }
  auto& pool = ThreadPool::global();
  for (const auto& format : {kFour, small_float_format(QuantMode::mxfp4)}) {
    const auto found = gptq(weights, moments, format, Encoding::f16, pool);
    const auto plain = round_plain(
        weights,
        format,
        Encoding::f16,
        pool,
        RangeSearch::narrower,
        diagonal);
    EXPECT_EQ(found.codes, plain.codes);
    EXPECT_EQ(found.scales, plain.scales);
    EXPECT_EQ(found.biases, plain.biases);
  }
}

TEST(Gptq, LosesLessThanRounding) {
  const auto weights = testing::random_matrix(24, 320, 2);
  const auto moments = testing::correlated_moments(320, 3);
  auto& pool = ThreadPool::global();
  for (const auto& format :
       {kFour,
        kThree,
        small_float_format(QuantMode::nvfp4),
        small_float_format(QuantMode::mxfp8)}) {
    const auto plain = round_plain(weights, format, Encoding::bf16, pool);
    const auto found = gptq(weights, moments, format, Encoding::bf16, pool);
    EXPECT_LT(
        testing::error_of(found, weights, moments),
        0.7 * testing::error_of(plain, weights, moments))
        << format.text();
  }
}

TEST(Gptq, TakesInputsThatWereNeverThere) {
  const auto weights = testing::random_matrix(4, 64, 4);
  InputStatistics nothing(64);
  const auto found = gptq(
      weights,
      damped(nothing.moments(), 0.01f),
      kFour,
      Encoding::f16,
      ThreadPool::global());
  const auto plain = round_plain(
      weights,
      kFour,
      Encoding::f16,
      ThreadPool::global(),
      RangeSearch::narrower);
  EXPECT_EQ(found.codes, plain.codes);
}

TEST(Refine, LowersTheErrorEachTime) {
  const auto weights = testing::random_matrix(70, 128, 5);
  const auto moments = testing::correlated_moments(128, 6);
  auto& pool = ThreadPool::global();
  for (const auto& format : {kFour, kThree}) {
    auto codes = gptq(weights, moments, format, Encoding::f32, pool);
    double last = testing::error_of(codes, weights, moments);
    for (int round = 0; round < 3; ++round) {
      fit_scales(codes, weights, moments, pool);
      const double fitted = testing::error_of(codes, weights, moments);
      EXPECT_LE(fitted, last * (1 + 1e-5));
      descend_codes(codes, weights, moments, pool);
      const double descended = testing::error_of(codes, weights, moments);
      EXPECT_LE(descended, fitted * (1 + 1e-5));
      last = descended;
    }
    const auto first = gptq(weights, moments, format, Encoding::f32, pool);
    EXPECT_LT(last, 0.95 * testing::error_of(first, weights, moments));
  }
}

TEST(FitScales, FindsTheScalesOfWeightsThatAreCodes) {
  // Weights that lie on a grid: with the right codes nothing is lost.
  auto& pool = ThreadPool::global();
  const auto moments = testing::correlated_moments(64, 8);
  auto exact =
      round_plain(testing::random_matrix(3, 64, 9), kFour, Encoding::f32, pool);
  const auto weights = decode(exact, pool);
  auto codes = exact;
  for (float& scale : codes.scales) {
    scale *= 1.3f;
  }
  fit_scales(codes, weights, moments, pool);
  for (std::size_t i = 0; i < codes.scales.size(); ++i) {
    EXPECT_NEAR(
        codes.scales[i],
        exact.scales[i],
        1e-3 * std::abs(exact.scales[i]));
    EXPECT_NEAR(
        codes.biases[i],
        exact.biases[i],
        1e-3 * std::abs(exact.biases[i]));
  }
}

TEST(DescendCodes, KeepsWhatIsBestAlready) {
  auto& pool = ThreadPool::global();
  const auto moments = testing::correlated_moments(64, 10);
  auto codes = round_plain(
      testing::random_matrix(3, 64, 11),
      kFour,
      Encoding::f32,
      pool);
  const auto weights = decode(codes, pool);
  const auto before = codes.codes;
  EXPECT_EQ(descend_codes(codes, weights, moments, pool), 0);
  EXPECT_EQ(codes.codes, before);
}

}  // namespace
}  // namespace roofline
