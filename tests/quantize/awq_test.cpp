#include "roofline/quantize/awq.h"

#include <filesystem>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <mlx/device.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include "quantize/helpers.h"
#include "roofline/quantize/overlay.h"

namespace roofline {
namespace {

using testing::kFour;

std::vector<float> magnitudes_of(const SquareMatrix& moments) {
  std::vector<float> out;
  for (int i = 0; i < moments.size; ++i) {
    out.push_back(std::sqrt(moments.at(i, i)));
  }
  return out;
}

TEST(AwqScales, AreNeverWorseThanPlainAndBetterWhereColumnsAreLoud) {
  const auto first = testing::random_matrix(24, 128, 1);
  const auto second = testing::random_matrix(8, 128, 2);
  const auto moments = testing::correlated_moments(128, 3);
  const std::vector<AwqMatrix> matrices = {{&first, kFour}, {&second, kFour}};
  const auto found = find_awq_scales(
      matrices,
      moments,
      magnitudes_of(moments),
      Encoding::f16,
      ThreadPool::global());
  EXPECT_LT(found.error, 0.9 * found.plain_error);
  EXPECT_GT(found.power, 0);
  double logs = 0;
  for (const float scale : found.scales) {
    logs += std::log(scale);
  }
  EXPECT_NEAR(logs, 0, 1e-2);
}

TEST(AwqScales, AreOnesWhereAllColumnsAreAlike) {
  const auto weights = testing::random_matrix(24, 64, 4);
  SquareMatrix moments{64, std::vector<float>(64 * 64, 0.0f)};
  for (int i = 0; i < 64; ++i) {
    moments.at(i, i) = 1;
  }
  const std::vector<AwqMatrix> matrices = {{&weights, kFour}};
  const auto found = find_awq_scales(
      matrices,
      moments,
      magnitudes_of(moments),
      Encoding::f16,
      ThreadPool::global());
  EXPECT_EQ(found.error, found.plain_error);
}

class FoldAwq : public ::testing::TestWithParam<const char*> {};

TEST_P(FoldAwq, LeavesTheLayerWhatItWas) {
  mx::set_default_device(mx::Device::cpu);
  const auto checkpoint =
      Checkpoint::open(std::filesystem::path(ROOFLINE_GOLDENS) / GetParam());
  auto& pool = ThreadPool::global();
  LayeredModel model(checkpoint->spec());
  std::vector<std::int32_t> window;
  for (int i = 0; i < 40; ++i) {
    window.push_back((i * 37 + 5) % checkpoint->spec().vocab);
  }
  TextStream before(*checkpoint, {window});
  const auto statistics = before.observe(model, *checkpoint, 0, pool);
  const auto folded = fold_awq(
      *checkpoint,
      checkpoint->spec().layers[0],
      0,
      plan_formats(*checkpoint, {QuantMode::affine, 3, 32}, {}),
      statistics,
      Encoding::bf16,
      pool);
  EXPECT_FALSE(folded.tensors.empty()) << "something can be folded";
  OverlayCheckpoint overlay(*checkpoint);
  for (const auto& [name, values] : folded.tensors) {
    overlay.replace(name, values);
  }
  TextStream after(overlay, {window});
  before.advance(model, *checkpoint, 0);
  after.advance(model, overlay, 0);
  auto difference = mx::max(mx::abs(before.at(0) - after.at(0)));
  auto size = mx::max(mx::abs(before.at(0)));
  EXPECT_LT(difference.item<float>(), 2e-4f * size.item<float>());
}

INSTANTIATE_TEST_SUITE_P(
    Goldens,
    FoldAwq,
    ::testing::Values(
        "llama",
        "gemma3_text",
        "qwen2",
        "phi3",
        "olmo2",
        "gemma3n_text",
        "gemma4_text"));

}  // namespace
}  // namespace roofline
