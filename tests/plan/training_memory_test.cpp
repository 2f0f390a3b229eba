#include <algorithm>
#include <string>

#include <gtest/gtest.h>

#include "plan/planned_llama.h"
#include "roofline/base/errors.h"
#include "roofline/plan/memory.h"

namespace roofline {
namespace {

constexpr double kParameters = 6738415616.0;

// 32 layers of width 4096 whose q, k, v and o are square; 11008 wide inside.
TrainingQuestion asked(TrainMethod method, int rank = 16) {
  TrainingQuestion question;
  question.method = method;
  question.rank = rank;
  return question;
}

MemoryPrediction predicted(const TrainingQuestion& question) {
  return predict_training(llama(), question);
}

double adapter_bytes(const TrainingQuestion& question) {
  return static_cast<double>(predicted(question).of("adapters"));
}

TEST(PredictTraining, LoraHasTwoThinMatricesBesideEachTarget) {
  // rank · (rows + columns) of 4 square matrices in 32 layers, float32.
  const double four = 16.0 * (4096 + 4096) * 4 * 32;
  EXPECT_EQ(adapter_bytes(asked(TrainMethod::lora)), 4 * four);
  EXPECT_EQ(adapter_bytes(asked(TrainMethod::lora, 32)), 8 * four);
  TrainingQuestion two = asked(TrainMethod::lora);
  two.targets = {"q_proj", "v_proj"};
  EXPECT_EQ(adapter_bytes(two), 2 * four);
  two.targets = {"gate_proj", "down_proj"};
  EXPECT_EQ(adapter_bytes(two), 4 * 16.0 * (4096 + 11008) * 2 * 32);
}

TEST(PredictTraining, GroupedKeysHaveNarrowerAdapters) {
  // Llama 3.1 8B: keys of 8 heads of 128.
  TrainingQuestion question = asked(TrainMethod::lora, 8);
  question.targets = {"k_proj"};
  const auto out = predict_training(plan_model("llama-3.1-8b"), question);
  EXPECT_EQ(out.of("adapters"), 4ULL * 8 * (1024 + 4096) * 32);
}

TEST(PredictTraining, DoraAddsAMagnitudeARow) {
  const double lora = adapter_bytes(asked(TrainMethod::lora));
  const double rows = 4.0 * 4096 * 32;
  EXPECT_EQ(adapter_bytes(asked(TrainMethod::dora)), lora + 4 * rows);
}

TEST(PredictTraining, QloraFreezesFourBitsAndLoraSixteen) {
  const auto lora = predicted(asked(TrainMethod::lora));
  const auto qlora = predicted(asked(TrainMethod::qlora));
  const double norms = 65 * 4096;
  EXPECT_EQ(lora.of("weights"), 2 * 6738415616ULL);
  EXPECT_EQ(
      static_cast<double>(qlora.of("weights")),
      (kParameters - norms) * (0.5 + 4.0 / 64) + 2 * norms);
  EXPECT_EQ(lora.of("adapters"), qlora.of("adapters"));
  EXPECT_EQ(lora.of("activations"), qlora.of("activations"));
}

TEST(PredictTraining, AdamwHoldsTwoFloatsAValue) {
  const double values = adapter_bytes(asked(TrainMethod::lora)) / 4;
  const auto state = [&](OptimizerKind kind) {
    TrainingQuestion question = asked(TrainMethod::lora);
    question.optimizer = kind;
    return static_cast<double>(predicted(question).of("optimizer"));
  };
  EXPECT_EQ(state(OptimizerKind::adamw), 8 * values);
  EXPECT_EQ(state(OptimizerKind::lion), 4 * values);
  EXPECT_EQ(state(OptimizerKind::sgd), 0);
  // Two bytes and two scales for each 256.
  EXPECT_EQ(state(OptimizerKind::adamw8), values * 2 + values / 256 * 8);
}

TEST(PredictTraining, FullTrainingHoldsGradientsAndFloatMasters) {
  TrainingQuestion question = asked(TrainMethod::full);
  const auto half = predicted(question);
  EXPECT_EQ(static_cast<double>(half.of("weights")), 2 * kParameters);
  EXPECT_EQ(static_cast<double>(half.of("gradients")), 2 * kParameters);
  EXPECT_EQ(static_cast<double>(half.of("optimizer")), (8 + 4) * kParameters);
  EXPECT_EQ(half.of("adapters"), 0U);
  question.precision_bits = 32;
  const auto whole = predicted(question);
  EXPECT_EQ(static_cast<double>(whole.of("weights")), 4 * kParameters);
  EXPECT_EQ(static_cast<double>(whole.of("optimizer")), 8 * kParameters);
}

TEST(PredictTraining, AdafactorOfAFullModelKeepsSumsOnly) {
  TrainingQuestion question = asked(TrainMethod::full);
  question.optimizer = OptimizerKind::adafactor;
  question.precision_bits = 32;
  EXPECT_LT(
      static_cast<double>(predicted(question).of("optimizer")),
      0.01 * kParameters);
}

/// Values that MLX's gradient keeps of a token in a layer: six of the stream,
/// five of the queries' width, two and a half of keys and values, six inside;
/// and a score for each head and key.
constexpr double kKept =
    6 * 4096 + 5 * 4096 + 2.5 * 8192 + 6 * 11008 + 32 * 512;

TEST(PredictTraining, ActivationsGrowWithTokensAndShrinkByCheckpointing) {
  TrainingQuestion question = asked(TrainMethod::lora);
  question.batch = 4;
  question.sequence_tokens = 512;
  // 32 layers, and the work of three.
  EXPECT_EQ(
      static_cast<double>(predicted(question).of("activations")),
      2048.0 * 35 * kKept * 2);
  question.checkpointing = true;
  EXPECT_EQ(
      static_cast<double>(predicted(question).of("activations")),
      2048.0 * (32 * 4096 + 5 * kKept) * 2);
  const auto four = predicted(question).of("activations");
  question.batch = 1;
  EXPECT_EQ(4 * predicted(question).of("activations"), four);
}

TEST(PredictTraining, LogitsAreOfAFewRows) {
  TrainingQuestion question = asked(TrainMethod::lora);
  // Rows of 32000 in 2^24, four times.
  EXPECT_EQ(predicted(question).of("logits"), 4ULL * 524 * 32000 * 4);
  question.batch = 1;
  question.sequence_tokens = 100;
  EXPECT_EQ(predicted(question).of("logits"), 4ULL * 100 * 32000 * 4);
}

TEST(PredictTraining, TheTotalOfLoraIsTheSumByHand) {
  const double adapters = 16.0 * 8192 * 4 * 32;
  const double expected = 2 * kParameters + adapters * (4 + 4 + 8) +
                          2048.0 * 35 * kKept * 2 + 4.0 * 524 * 32000 * 4;
  TrainingQuestion question = asked(TrainMethod::lora);
  question.constants = {0, 0};
  const auto out = predict_training(llama(), question);
  EXPECT_EQ(static_cast<double>(out.total()), expected);
}

TEST(PredictTraining, ACardHoldsNoOptimizerAndGradientsInPlaceOfActivations) {
  TrainingQuestion question = asked(TrainMethod::full);
  question.card = true;
  const auto full = predict_training(llama(), question);
  EXPECT_EQ(full.of("weights"), static_cast<std::uint64_t>(4 * kParameters));
  EXPECT_EQ(full.of("optimizer"), 0U);
  EXPECT_EQ(full.of("runtime"), 0U);
  EXPECT_EQ(
      static_cast<double>(full.of("gradients") + full.of("activations")),
      std::max(4 * kParameters, static_cast<double>(full.of("activations"))));
}

// Peaks that an H100 measured with SmolLM2's shape, LoRA of rank 8, float32
// (docs/memory.md).
TEST(PredictTraining, OnACardIsWithinAFifthOfWhatAnH100Held) {
  struct Measured {
    int batch;
    int tokens;
    bool again;
    double megabytes;
  };
  const auto model = plan_model("smollm2-135m");
  for (const Measured& m :
       {Measured{1, 256, false, 1551},
        Measured{1, 512, false, 2499},
        Measured{1, 1024, false, 4791},
        Measured{1, 2048, false, 9666},
        Measured{4, 512, false, 6215},
        Measured{1, 512, true, 992},
        Measured{4, 512, true, 1856},
        Measured{1, 2048, true, 2357}}) {
    TrainingQuestion question = asked(TrainMethod::lora, 8);
    question.card = true;
    question.precision_bits = 32;
    question.batch = m.batch;
    question.sequence_tokens = m.tokens;
    question.checkpointing = m.again;
    const auto total =
        static_cast<double>(predict_training(model, question).total()) / 1e6;
    EXPECT_NEAR(total, m.megabytes, 0.2 * m.megabytes)
        << m.batch << " x " << m.tokens;
  }
}

TEST(PredictTraining, ACpuHoldsWhatItTrainsInFloat32) {
  TrainingQuestion question = asked(TrainMethod::full);
  question.gpu = false;
  const auto full = predict_training(llama(), question);
  EXPECT_EQ(full.of("weights"), static_cast<std::uint64_t>(4 * kParameters));
  // The step's; of the batch the head's and, one after the other, a layer's.
  const double head = 32000.0 * 4096;
  const double layer = 4.0 * 4096 * 4096 + 3.0 * 4096 * 11008 + 2 * 4096;
  EXPECT_EQ(
      full.of("gradients"),
      static_cast<std::uint64_t>(4 * (kParameters + head + layer)));
  EXPECT_EQ(full.of("optimizer"), static_cast<std::uint64_t>(8 * kParameters));
  question.method = TrainMethod::lora;
  const auto lora = predict_training(llama(), question);
  EXPECT_EQ(lora.of("gradients"), lora.of("adapters") / 32 * 33);
  // By hand: the stream, qkv, a sum a head, the result; the stream, gate and
  // up. Norms and activations are computed again, also where all is trained.
  const double kept = 4096 + 3 * 4096 + 32 + 4096 + 4096 + 2 * 11008;
  EXPECT_EQ(lora.of("activations"), full.of("activations"));
  EXPECT_GT(
      static_cast<double>(lora.of("activations")),
      4.0 * 2048 * 32 * kept);
  // So many rows of logits as fit into 64 MiB, and three rows of the width.
  EXPECT_EQ(lora.of("logits"), 4ULL * (524 * 32000 + 3 * 2048 * 4096));
  question.checkpointing = true;
  EXPECT_LT(
      predict_training(llama(), question).of("activations"),
      lora.of("activations") / 2);
}

TEST(PredictTraining, OnACpuMoreThreadsHaveRowsOfTheirOwn) {
  TrainingQuestion question = asked(TrainMethod::qlora);
  question.gpu = false;
  question.batch = 1;
  question.sequence_tokens = 512;
  const auto with = [&](int threads) {
    question.threads = threads;
    return predicted(question).total();
  };
  EXPECT_EQ(with(1), with(2));
  // Two rows of logits; keys, values and gradients of a head of 128.
  const std::uint64_t one = 4ULL * (2 * 32000 + 6 * 512 * 128);
  EXPECT_EQ(with(16) - with(2), 14 * one);
}

TEST(PredictTraining, OnACpuFewerTrainedLayersKeepLess) {
  TrainingQuestion question = asked(TrainMethod::lora);
  question.gpu = false;
  const auto all = predict_training(llama(), question);
  question.trained_layers = 8;
  const auto few = predict_training(llama(), question);
  EXPECT_EQ(4 * few.of("adapters"), all.of("adapters"));
  EXPECT_LT(few.of("activations"), all.of("activations") / 2);
}

TEST(PredictTraining, OnACpuDoraKeepsProductsBeforeTheirLengths) {
  TrainingQuestion question = asked(TrainMethod::lora);
  question.gpu = false;
  const auto lora = predict_training(llama(), question);
  question.method = TrainMethod::dora;
  const auto dora = predict_training(llama(), question);
  // q, k, v and o, of each of 32 layers.
  EXPECT_EQ(
      dora.of("activations") - lora.of("activations"),
      4ULL * 2048 * 32 * 4 * 4096);
}

TEST(PredictTraining, OnACpuTheLargestOfAStepAndAValidationCounts) {
  TrainingQuestion question = asked(TrainMethod::lora);
  question.gpu = false;
  question.batch_tokens = 256;
  const auto step = predict_training(llama(), question).total();
  question.forward_tokens = 16;
  EXPECT_EQ(predict_training(llama(), question).total(), step);
  question.forward_tokens = 8192;
  const auto validated = predict_training(llama(), question).total();
  EXPECT_GT(validated, step);
  question.forward_tokens = 2 * 8192;
  // A row of each layer a token, and more for the layer that is computed.
  EXPECT_GT(
      predict_training(llama(), question).total() - validated,
      4ULL * 8192 * 32 * 4096);
  question.checkpointing = true;  // of a step alone
  question.trained_layers = 2;
  question.batch_tokens = 64;
  question.forward_tokens = 8192;
  EXPECT_GT(predict_training(llama(), question).total(), validated / 10 * 9);
}

TEST(PredictTraining, OnACpuWritingAModelOfWhichLittleLearntCounts) {
  TrainingQuestion question = asked(TrainMethod::full);
  question.gpu = false;
  question.batch_tokens = 16;
  question.trained_layers = 1;
  const auto step = predict_training(llama(), question).total();
  question.writes_model = true;
  const auto written = predict_training(llama(), question).total();
  EXPECT_GT(written, step + llama().weight_bytes() / 2);
  EXPECT_LT(written, step + llama().weight_bytes());
  question.batch_tokens = 4096;
  question.trained_layers = 0;  // a step takes more than that
  const auto whole = predict_training(llama(), question).total();
  question.writes_model = false;
  EXPECT_EQ(predict_training(llama(), question).total(), whole);
}

std::string refusal(const TrainingQuestion& question) {
  try {
    predicted(question);
  } catch (const UserError& error) {
    return error.what();
  }
  return "";
}

TEST(PredictTraining, ImpossibleQuestionsAreRefused) {
  TrainingQuestion question = asked(TrainMethod::lora, 0);
  EXPECT_NE(refusal(question).find("rank"), std::string::npos);
  question = asked(TrainMethod::lora);
  question.targets = {"q_prij"};
  EXPECT_NE(refusal(question).find("Did you mean q_proj"), std::string::npos);
  EXPECT_NE(refusal(question).find("q_proj"), std::string::npos);
  question = asked(TrainMethod::lora);
  question.targets = {};
  EXPECT_NE(refusal(question).find("targets"), std::string::npos);
  question = asked(TrainMethod::full);
  question.precision_bits = 8;
  EXPECT_NE(refusal(question).find("16 or 32"), std::string::npos);
}

}  // namespace
}  // namespace roofline
