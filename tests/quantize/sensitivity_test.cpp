#include "roofline/quantize/sensitivity.h"

#include <filesystem>

#include <gtest/gtest.h>
#include <mlx/device.h>

#include "quantize/helpers.h"
#include "roofline/base/errors.h"
#include "roofline/quantize/layered_quality.h"
#include "roofline/quantize/overlay.h"
#include "roofline/quantize/quantize.h"

namespace roofline {
namespace {

using testing::golden;

std::vector<MatrixFormat> candidates() {
  std::vector<MatrixFormat> formats;
  for (const int bits : {2, 3, 4, 5, 6, 8}) {
    formats.push_back({QuantMode::affine, bits, 32});
  }
  return formats;
}

SensitivityOptions options_for(const Checkpoint& checkpoint) {
  SensitivityOptions options;
  options.probe = {QuantMode::affine, 4, 32};
  options.candidates = candidates();
  unsigned state = 11;
  options.windows.resize(2);
  for (auto& window : options.windows) {
    for (int i = 0; i < 24; ++i) {
      state = state * 1664525u + 1013904223u;
      window.push_back(
          static_cast<std::int32_t>((state >> 8) % checkpoint.spec().vocab));
    }
  }
  return options;
}

class SensitivityOf : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override { mx::set_default_device(mx::Device::cpu); }
};

TEST_P(SensitivityOf, IsTheDivergenceWithOneMatrixRounded) {
  const auto checkpoint = Checkpoint::open(golden(GetParam()));
  const auto options = options_for(*checkpoint);
  const auto plan = plan_formats(*checkpoint, options.probe, {});
  const auto found = measure_sensitivity(*checkpoint, plan, options);
  EXPECT_EQ(found.size(), plan.formats.size());
  std::vector<std::string> names = {
      "embed",
      "layers.0.feed_forward.down",
      "layers.1.attention.q"};
  if (!checkpoint->spec().tied_embeddings) {
    names.push_back("head");
  }
  for (const auto& name : names) {
    auto& pool = ThreadPool::global();
    OverlayCheckpoint overlay(*checkpoint);
    overlay.replace(
        name,
        decode(
            round_plain(
                read_matrix(checkpoint->at(name), pool),
                options.probe,
                Encoding::f16,
                pool,
                RangeSearch::narrower),
            pool));
    double sum = 0;
    int places = 0;
    for (auto window : options.windows) {
      // One more token, so that every place of the window counts.
      window.push_back(0);
      QualityOptions quality;
      quality.windows.context_tokens = static_cast<int>(window.size());
      quality.windows.stride_tokens = quality.windows.context_tokens;
      const auto report =
          measure_layered(*checkpoint, overlay, window, quality);
      sum += report.mean_kl * static_cast<double>(report.tokens);
      places += static_cast<int>(report.tokens);
    }
    const auto& seen = found.find(name)->second;
    EXPECT_NEAR(seen.kl, sum / places, 2e-3 * seen.kl + 2e-7) << name;
    EXPECT_GE(seen.losses[2], 0.999 * seen.kl) << "the probe's own format";
    EXPECT_GT(seen.losses[0], seen.losses[1]);
    EXPECT_GT(seen.losses[4], seen.losses[5]);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Goldens,
    SensitivityOf,
    ::testing::Values("llama", "gemma3_text"));

TEST(Sensitivity, ExpectsLessLossOfGptqThanOfPlainRounding) {
  mx::set_default_device(mx::Device::cpu);
  const auto checkpoint = Checkpoint::open(golden("llama"));
  auto options = options_for(*checkpoint);
  const auto plan = plan_formats(*checkpoint, options.probe, {});
  const auto plain = measure_sensitivity(*checkpoint, plan, options);
  options.gptq = true;
  unsigned state = 5;
  options.calibration.resize(8);
  for (auto& window : options.calibration) {
    for (int i = 0; i < 64; ++i) {
      state = state * 1664525u + 1013904223u;
      window.push_back(
          static_cast<std::int32_t>((state >> 8) % checkpoint->spec().vocab));
    }
  }
  const auto spread = measure_sensitivity(*checkpoint, plan, options);
  double by_gptq = 0;
  double plainly = 0;
  for (const auto& [name, found] : spread) {
    by_gptq += found.kl;
    plainly += plain.at(name).kl;
    EXPECT_GT(found.losses[0], found.losses[2]) << name;
  }
  EXPECT_LT(by_gptq, plainly);
}

TEST(ChooseFormats, GivesBitsToWhatLosesMost) {
  const auto checkpoint = Checkpoint::open(golden("llama"));
  const auto formats = candidates();
  auto plan = plan_formats(*checkpoint, formats[2], {});
  SensitivityByName found;
  for (const auto& [name, format] : plan.formats) {
    const double kl = name == "layers.0.feed_forward.up" ? 1.0 : 1e-4;
    for (const double share : {16.0, 4.0, 1.0, 0.25, 0.06, 0.004}) {
      found[name].losses.push_back(kl * share);
    }
  }
  choose_formats(*checkpoint, found, formats, 5.1, {}, plan);
  EXPECT_EQ(plan.formats.at("layers.0.feed_forward.up").bits, 8);
  EXPECT_LE(plan.bits_per_weight(*checkpoint), 5.1);
  EXPECT_GT(plan.bits_per_weight(*checkpoint), 5.0);
  EXPECT_THROW(
      choose_formats(*checkpoint, found, formats, 2.0, {}, plan),
      UserError);
}

TEST(ChooseFormats, KeepsTogetherWhatIsStoredTogether) {
  const auto checkpoint = Checkpoint::open(golden("llama"));
  const auto formats = candidates();
  auto plan = plan_formats(*checkpoint, formats[2], {});
  SensitivityByName found;
  for (const auto& [name, format] : plan.formats) {
    const double kl = name.ends_with(".q") ? 1.0 : 1e-4;
    for (const double share : {16.0, 4.0, 1.0, 0.25, 0.06, 0.004}) {
      found[name].losses.push_back(kl * share);
    }
  }
  const std::vector<std::vector<std::string>> together = {
      {"layers.0.attention.q", "layers.0.attention.k"}};
  choose_formats(*checkpoint, found, formats, 4.5, together, plan);
  EXPECT_EQ(
      plan.formats.at("layers.0.attention.q"),
      plan.formats.at("layers.0.attention.k"));
  EXPECT_NE(
      plan.formats.at("layers.1.attention.q"),
      plan.formats.at("layers.1.attention.k"));
}

}  // namespace
}  // namespace roofline
