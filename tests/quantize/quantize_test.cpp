#include "roofline/quantize/quantize.h"

#include <algorithm>
#include <filesystem>

#include <gtest/gtest.h>
#include <mlx/device.h>
#include <mlx/ops.h>

#include "quantize/helpers.h"
#include "roofline/base/errors.h"
#include "roofline/base/thread_pool.h"
#include "roofline/model/decoder.h"
#include "roofline/model/logits.h"
#include "roofline/quantize/layered_quality.h"
#include "roofline/quantize/overlay.h"

namespace roofline {
namespace {

using testing::golden;

/// Keeps the values that the codes stand for.
class Kept : public QuantizeSink {
 public:
  explicit Kept(const Checkpoint& checkpoint) : overlay(checkpoint) {}
  void put_codes(
      const std::string& name,
      const PackedCodes& codes,
      std::int64_t first_row) override {
    Tensor tensor;
    tensor.name = name;
    tensor.encoding = Encoding::mlx_affine;
    tensor.rows = codes.rows;
    tensor.cols = codes.cols;
    tensor.bytes = codes.words;
    tensor.affine.bits = codes.format.bits;
    tensor.affine.group_size = codes.format.group_size;
    tensor.affine.dtype = codes.scale_type;
    tensor.affine.scales = codes.scales;
    tensor.affine.biases = codes.biases;
    overlay.replace(name, read_matrix(tensor, ThreadPool::global()));
    EXPECT_EQ(first_row, 0);
    names.push_back(name);
  }
  void put_floats(const std::string& name, const FloatMatrix& values) override {
    overlay.replace(name, values);
    floats.push_back(name);
  }
  OverlayCheckpoint overlay;
  std::vector<std::string> names, floats;
};

std::vector<std::int32_t> some_tokens(int count, int vocab) {
  std::vector<std::int32_t> tokens;
  unsigned state = 7;
  for (int i = 0; i < count; ++i) {
    state = state * 1664525u + 1013904223u;
    tokens.push_back(static_cast<std::int32_t>((state >> 8) % vocab));
  }
  return tokens;
}

QualityOptions windows_of(int tokens) {
  QualityOptions options;
  options.windows.context_tokens = tokens;
  options.windows.stride_tokens = tokens;
  return options;
}

class QuantizeModel : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override { mx::set_default_device(mx::Device::cpu); }
};

TEST_P(QuantizeModel, MeasuredByLayersDiffersInNothingFromTheDecoders) {
  const auto checkpoint = Checkpoint::open(golden(GetParam()));
  const MatrixFormat format{QuantMode::affine, 4, 32};
  Kept kept(*checkpoint);
  quantize_model(*checkpoint, plan_formats(*checkpoint, format, {}), {}, kept);
  const auto tokens = some_tokens(60, checkpoint->spec().vocab);
  const auto options = windows_of(20);
  ModelOptions exact;
  exact.exact = true;
  exact.device = DeviceChoice::cpu;
  exact.cache_packed = false;
  const auto first = Decoder::load(*checkpoint, exact);
  const auto second = Decoder::load(kept.overlay, exact);
  const auto whole = measure_quality(*first, *second, tokens, options);
  const auto layered =
      measure_layered(*checkpoint, kept.overlay, tokens, options);
  EXPECT_EQ(layered.tokens, whole.tokens);
  EXPECT_GT(whole.mean_kl, 1e-6);
  EXPECT_NEAR(layered.mean_kl, whole.mean_kl, 1e-3 * whole.mean_kl + 1e-6);
  EXPECT_NEAR(layered.perplexity, whole.perplexity, 1e-4 * whole.perplexity);
  const auto in_pieces = measure_layered(
      *checkpoint,
      kept.overlay,
      tokens,
      options,
      7 * checkpoint->spec().dim);
  EXPECT_NEAR(in_pieces.mean_kl, layered.mean_kl, 1e-4 * layered.mean_kl);
  EXPECT_NEAR(in_pieces.perplexity, layered.perplexity, 1e-3);
  EXPECT_EQ(in_pieces.top1_agreement, layered.top1_agreement);
}

TEST_P(QuantizeModel, CalibratedLosesLessThanPlain) {
  const auto checkpoint = Checkpoint::open(golden(GetParam()));
  const MatrixFormat format{QuantMode::affine, 3, 32};
  const auto plan = plan_formats(*checkpoint, format, {});
  Kept plain(*checkpoint), calibrated(*checkpoint);
  QuantizeOptions options;
  quantize_model(*checkpoint, plan, options, plain);
  options.method = QuantizeMethod::gptq;
  const auto tokens = some_tokens(512, checkpoint->spec().vocab);
  for (int begin = 0; begin < 512; begin += 32) {
    options.windows.push_back(
        {tokens.begin() + begin, tokens.begin() + begin + 32});
  }
  quantize_model(*checkpoint, plan, options, calibrated);
  std::sort(calibrated.names.begin(), calibrated.names.end());
  EXPECT_EQ(calibrated.names, plain.names) << "every matrix, once";
  const auto test = windows_of(32);
  const auto before = measure_layered(*checkpoint, plain.overlay, tokens, test);
  const auto after =
      measure_layered(*checkpoint, calibrated.overlay, tokens, test);
  EXPECT_LT(after.mean_kl, 0.8 * before.mean_kl);
  Kept scaled(*checkpoint);
  options.method = QuantizeMethod::awq;
  quantize_model(*checkpoint, plan, options, scaled);
  const auto awq = measure_layered(*checkpoint, scaled.overlay, tokens, test);
  EXPECT_LT(awq.mean_kl, before.mean_kl);
}

TEST_P(QuantizeModel, DistilledLosesLessThanWhereItStarted) {
  const auto checkpoint = Checkpoint::open(golden(GetParam()));
  const auto plan = plan_formats(*checkpoint, {QuantMode::affine, 3, 32}, {});
  Kept plain(*checkpoint), learned(*checkpoint);
  QuantizeOptions options;
  quantize_model(*checkpoint, plan, options, plain);
  options.method = QuantizeMethod::dwq;
  options.start = QuantizeMethod::plain;
  options.distill.steps = 30;
  options.distill.step_tokens = 128;
  options.distill.learning_rate = 1e-2;
  options.distill.norms = true;
  const auto tokens = some_tokens(768, checkpoint->spec().vocab);
  for (int begin = 0; begin < 512; begin += 32) {
    options.distill.windows.push_back(
        {tokens.begin() + begin, tokens.begin() + begin + 32});
  }
  const auto result = quantize_model(*checkpoint, plan, options, learned);
  ASSERT_TRUE(result);
  EXPECT_EQ(result->steps, 30);
  EXPECT_LT(result->kl_after, result->kl_before);
  // On text that it has seen nothing of.
  const auto unseen = std::span(tokens).subspan(512);
  const auto test = windows_of(32);
  const auto before = measure_layered(*checkpoint, plain.overlay, unseen, test);
  const auto after =
      measure_layered(*checkpoint, learned.overlay, unseen, test);
  EXPECT_LT(after.mean_kl, 0.95 * before.mean_kl);
  EXPECT_FALSE(learned.floats.empty()) << "norms";
}

INSTANTIATE_TEST_SUITE_P(
    Goldens,
    QuantizeModel,
    ::testing::Values(
        "llama",
        "gemma3_text",
        "qwen3",
        "olmo2",
        "phi3",
        "gemma3n_text",
        "gemma4_text"));

// Experts one by one, and stacked with gate and up apart or in one.
class DistillMixture : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override { mx::set_default_device(mx::Device::cpu); }
};

TEST_P(DistillMixture, TrainsTheExpertsToo) {
  const auto checkpoint = Checkpoint::open(golden(GetParam()));
  const std::vector<FormatRule> rules{parse_rule("layers.*.attention.*=8", 32)};
  auto plan = plan_formats(*checkpoint, {QuantMode::affine, 2, 32}, rules);
  Kept plain(*checkpoint), learned(*checkpoint);
  QuantizeOptions options;
  quantize_model(*checkpoint, plan, options, plain);
  options.method = QuantizeMethod::dwq;
  options.start = QuantizeMethod::plain;
  options.distill.steps = 30;
  options.distill.step_tokens = 128;
  options.distill.learning_rate = 1e-2;
  const auto tokens = some_tokens(768, checkpoint->spec().vocab);
  for (int begin = 0; begin < 512; begin += 32) {
    options.distill.windows.push_back(
        {tokens.begin() + begin, tokens.begin() + begin + 32});
  }
  const auto result = quantize_model(*checkpoint, plan, options, learned);
  ASSERT_TRUE(result);
  const auto unseen = std::span(tokens).subspan(512);
  const auto test = windows_of(32);
  const auto before = measure_layered(*checkpoint, plain.overlay, unseen, test);
  const auto after =
      measure_layered(*checkpoint, learned.overlay, unseen, test);
  EXPECT_LT(after.mean_kl, 0.95 * before.mean_kl);
  int changed = 0;
  for (const std::string& name : learned.names) {
    const bool expert = name.find(".experts.") != std::string::npos;
    const auto values = [&](const OverlayCheckpoint& of) {
      return read_matrix(of.at(name), ThreadPool::global()).values;
    };
    changed += expert && values(plain.overlay) != values(learned.overlay);
  }
  EXPECT_GE(changed, 3);
}

/// Mean divergence at every token of one text, computed by whole models.
double divergence(
    const Checkpoint& source,
    const Checkpoint& changed,
    std::span<const std::int32_t> text) {
  ModelOptions exact;
  exact.exact = true;
  exact.device = DeviceChoice::cpu;
  exact.cache_packed = false;
  const auto log_probabilities = [&](const Checkpoint& checkpoint) {
    const auto logits = run_logits(*Decoder::load(checkpoint, exact), text);
    return mx::subtract(logits, mx::logsumexp(logits, -1, true));
  };
  const auto p = log_probabilities(source);
  const auto q = log_probabilities(changed);
  return mx::mean(mx::sum(mx::multiply(mx::exp(p), mx::subtract(p, q)), -1))
      .item<float>();
}

INSTANTIATE_TEST_SUITE_P(
    Goldens,
    DistillMixture,
    ::testing::Values("mixtral", "qwen3_moe", "deepseek_v3", "gpt_oss_mxfp4"));

TEST(Distill, SeesTheCodesOfAStackThatIsCodesInPart) {
  mx::set_default_device(mx::Device::cpu);
  const auto checkpoint = Checkpoint::open(golden("mixtral"));
  const std::vector<FormatRule> rules{
      parse_rule("layers.*.attention.*=8", 32),
      parse_rule("layers.*.experts.0.*=keep", 32)};
  const auto plan =
      plan_formats(*checkpoint, {QuantMode::affine, 2, 32}, rules);
  Kept plain(*checkpoint), learned(*checkpoint);
  QuantizeOptions options;
  quantize_model(*checkpoint, plan, options, plain);
  options.method = QuantizeMethod::dwq;
  options.start = QuantizeMethod::plain;
  options.distill.steps = 0;
  const auto tokens = some_tokens(64, checkpoint->spec().vocab);
  const auto held_out = std::span(tokens).subspan(32);
  options.distill.windows = {
      {tokens.begin(), tokens.begin() + 32},
      {held_out.begin(), held_out.end()}};
  const auto result = quantize_model(*checkpoint, plan, options, learned);
  ASSERT_TRUE(result);
  const double expected = divergence(*checkpoint, plain.overlay, held_out);
  EXPECT_GT(expected, 1e-4);
  EXPECT_NEAR(result->kl_before, expected, 0.01 * expected);
  std::sort(learned.names.begin(), learned.names.end());
  EXPECT_EQ(learned.names, plain.names);
}

TEST(PlanFormats, LeavesNormsAndWhatDoesNotFit) {
  const auto checkpoint = Checkpoint::open(golden("llama"));
  const auto rules = std::vector{parse_rule("layers.1.*=keep", 64)};
  const auto plan =
      plan_formats(*checkpoint, {QuantMode::affine, 4, 128}, rules);
  EXPECT_EQ(plan.formats.count("layers.0.attention_norm"), 0u);
  // Of 64 columns: no group of 128. Of 128: one.
  EXPECT_EQ(plan.formats.at("layers.0.attention.q").mode, QuantMode::keep);
  EXPECT_EQ(plan.formats.at("layers.0.feed_forward.down").bits, 4);
  EXPECT_EQ(
      plan.formats.at("layers.1.feed_forward.down").mode,
      QuantMode::keep);
  EXPECT_FALSE(plan.unfit.empty());
  const auto typo = std::vector{parse_rule("layers.*.dwon=6", 64)};
  EXPECT_THROW(
      plan_formats(*checkpoint, {QuantMode::affine, 4, 64}, typo),
      UserError);
}

TEST(Quantize, WantsAText) {
  const auto checkpoint = Checkpoint::open(golden("llama"));
  Kept kept(*checkpoint);
  QuantizeOptions options;
  options.method = QuantizeMethod::gptq;
  EXPECT_THROW(
      quantize_model(
          *checkpoint,
          plan_formats(*checkpoint, {}, {}),
          options,
          kept),
      UserError);
}

TEST(Quantize, EndsWhenAsked) {
  const auto checkpoint = Checkpoint::open(golden("llama"));
  Kept kept(*checkpoint);
  QuantizeOptions options;
  int left = 3;
  options.stop = [&] { return left-- == 0; };
  EXPECT_THROW(
      quantize_model(
          *checkpoint,
          plan_formats(*checkpoint, {}, {}),
          options,
          kept),
      QuantizeCancelled);
  EXPECT_EQ(kept.names.size(), 3u);
}

}  // namespace
}  // namespace roofline
