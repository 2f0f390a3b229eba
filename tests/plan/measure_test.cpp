#include "roofline/plan/measure.h"

#include <filesystem>

#include <gtest/gtest.h>

#include "roofline/weights/checkpoint.h"

namespace roofline {
namespace {

/// Three layers with two heads of 16 for keys and values.
class MeasureMemory : public testing::Test {
 protected:
  MeasureMemory() {
    ModelOptions options;
    options.device = DeviceChoice::cpu;
    options.cache_packed = false;
    decoder_ = Decoder::load(*checkpoint_, options);
  }

  static InferenceQuestion asked(std::int64_t tokens, int batch = 1) {
    InferenceQuestion question;
    question.context_tokens = tokens;
    question.prefill_step = 128;
    question.batch = batch;
    return question;
  }

  std::filesystem::path folder_ =
      std::filesystem::path(ROOFLINE_GOLDENS) / "llama";
  std::unique_ptr<Checkpoint> checkpoint_ = Checkpoint::open(folder_);
  std::unique_ptr<Decoder> decoder_;
};

TEST_F(MeasureMemory, TheCacheTakesWhatIsPredictedToTheByte) {
  const PlannedModel planned = plan_model(folder_.string());
  for (const int tokens : {2, 100, 256, 400}) {
    for (const int batch : {1, 3}) {
      const auto question = asked(tokens, batch);
      EXPECT_EQ(
          measure_memory(*decoder_, question).kv,
          predict_inference(planned, question).of("kv"))
          << tokens << " tokens, batch " << batch;
    }
  }
}

TEST_F(MeasureMemory, AStepReadsWeightsAndThePeakHoldsThem) {
  const MeasuredMemory measured = measure_memory(*decoder_, asked(64));
  EXPECT_GT(measured.weights, 0U);
  EXPECT_GT(measured.peak, measured.weights + measured.kv);
  EXPECT_GE(measured.peak, measured.resident_files);
  EXPECT_GT(measured.resident_anonymous, measured.kv);
}

TEST_F(MeasureMemory, SkippedStepsTakeTheCacheThatComputedOnesTake) {
  MeasureOptions last;
  last.last_steps = 1;
  EXPECT_EQ(
      measure_memory(*decoder_, asked(500), last).kv,
      measure_memory(*decoder_, asked(500)).kv);
}

TEST_F(MeasureMemory, OneTokenIsEnough) {
  EXPECT_GT(measure_memory(*decoder_, asked(1)).kv, 0U);
}

}  // namespace
}  // namespace roofline
