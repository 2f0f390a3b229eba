#include "roofline/plan/memory.h"

#include <string_view>

#include <gtest/gtest.h>

#include "plan/planned_llama.h"
#include "roofline/base/cpu_features.h"
#include "roofline/base/errors.h"
#include "roofline/base/thread_pool.h"

namespace roofline {
namespace {

// Llama 2 7B: 32 layers of width 4096, 32 heads of 128 that all have their own
// keys and values, a feed-forward of 11008, a vocabulary of 32000, untied.
constexpr std::uint64_t kAttention = 32ULL * 4 * 4096 * 4096;
constexpr std::uint64_t kFeedForward = 32ULL * 3 * 4096 * 11008;
constexpr std::uint64_t kEmbedding = 32000ULL * 4096;
constexpr std::uint64_t kNorms = (2 * 32 + 1) * 4096ULL;

std::uint64_t part(const MemoryPrediction& prediction, std::string_view name) {
  for (const MemoryPart& each : prediction.parts) {
    if (each.name == name) {
      return each.bytes;
    }
  }
  return 0;
}

TEST(PredictInference, OfAnEmbeddingThatIsNoHeadTheRowsReadAreInMemory) {
  const auto model = plan_model("olmo-2-1b");  // 100352 x 2048, bf16, untied
  InferenceQuestion question;
  question.gpu = false;
  question.context_tokens = 512;
  question.batch = 2;
  const auto part = [&] {
    for (const MemoryPart& each : predict_inference(model, question).parts) {
      if (each.name.find("embedding") != std::string::npos) {
        return each.bytes;
      }
    }
    return std::uint64_t{0};
  };
  EXPECT_EQ(part(), 2ULL * 512 * 4096);
  question.context_tokens = 100000;
  EXPECT_EQ(part(), 100352ULL * 2048 * 2);
  question.gpu = true;
  question.context_tokens = 512;
  EXPECT_EQ(part(), 100352ULL * 2048 * 2);
}

TEST(MemoryPrediction, TheTotalIsTheSumOfItsKinds) {
  const auto out = predict_inference(llama(), asked(2048));
  std::uint64_t sum = 0;
  for (const char* kind :
       {"weights", "kv", "transients", "logits", "cache", "runtime"}) {
    EXPECT_GT(out.of(kind), 0U) << kind;
    sum += out.of(kind);
  }
  EXPECT_EQ(sum, out.total());
  EXPECT_EQ(out.of("adapters"), 0U);
}

TEST(PredictInference, SixteenBitWeightsTakeTwoBytesAParameterByClass) {
  const auto out = predict_inference(llama(), asked(2048));
  EXPECT_EQ(part(out, "weights: attention (bf16)"), 2 * kAttention);
  EXPECT_EQ(part(out, "weights: feed-forward (bf16)"), 2 * kFeedForward);
  EXPECT_EQ(part(out, "weights: embedding (bf16)"), 2 * kEmbedding);
  EXPECT_EQ(part(out, "weights: head (bf16)"), 2 * kEmbedding);
  EXPECT_EQ(part(out, "weights: norms and others (bf16)"), 2 * kNorms);
  EXPECT_EQ(out.of("weights"), 2 * 6738415616ULL);
}

TEST(PredictInference, Int4TakesHalfAByteAndFourBytesAGroup) {
  InferenceQuestion question = asked(2048);
  question.quantize = WeightFormat{4, 64};
  const auto out = predict_inference(llama(), question);
  const auto codes = [](std::uint64_t values) {
    return values / 2 + values / 64 * 4;
  };
  EXPECT_EQ(
      part(out, "weights: attention (affine 4-bit/64)"),
      codes(kAttention));
  EXPECT_EQ(
      out.of("weights"),
      codes(kAttention + kFeedForward + 2 * kEmbedding) + 2 * kNorms);
}

TEST(PredictInference, TheCpuHoldsCodesWithTheScalesOfTheirGroups) {
  InferenceQuestion question = asked(2048);
  question.quantize = WeightFormat{4, 64};
  const auto gpu = predict_inference(llama(), question);
  question.gpu = false;
  const auto cpu = predict_inference(llama(), question);
  EXPECT_EQ(
      part(cpu, "weights: attention (packed q4/64)"),
      kAttention / 2 + kAttention / 64 * 4);
  // An allocator that keeps what is freed is the GPU graph's.
  EXPECT_EQ(cpu.of("cache"), 0U);
  EXPECT_GT(gpu.of("cache"), 0U);
}

TEST(PredictInference, FullAttentionKeepsAKeyAndAValueOfEachToken) {
  const std::uint64_t token = 2ULL * 32 * 32 * 128 * 2;
  EXPECT_EQ(predict_inference(llama(), asked(2048)).of("kv"), 2048 * token);
  InferenceQuestion two = asked(2048);
  two.batch = 2;
  EXPECT_EQ(predict_inference(llama(), two).of("kv"), 2 * 2048 * token);
  // Room grows in steps of at most a quarter.
  for (const std::int64_t tokens : {300, 3000, 4096, 10000}) {
    const auto bytes = predict_inference(llama(), asked(tokens)).of("kv");
    EXPECT_GE(bytes, static_cast<std::uint64_t>(tokens) * token);
    EXPECT_LE(
        bytes,
        (static_cast<std::uint64_t>(tokens) * 5 / 4 + 512) * token);
  }
}

TEST(PredictInference, FewerHeadsOfKeysTakeLessThanOfQueries) {
  // Llama 3.1 8B: 8 of 32 heads have keys and values.
  const auto out = predict_inference(plan_model("llama-3.1-8b"), asked(2048));
  EXPECT_EQ(out.of("kv"), 2048ULL * 2 * 32 * 8 * 128 * 2);
}

TEST(PredictInference, CachedCodesHaveTwo16BitNumbersForEachGroup) {
  InferenceQuestion question = asked(2048);
  const std::uint64_t values = 2048ULL * 2 * 32 * 32 * 128;
  question.set_kv_bits(8);
  EXPECT_EQ(
      predict_inference(llama(), question).of("kv"),
      values + values / 64 * 4);
  question.set_kv_bits(4);
  question.kv.group_size = 32;
  EXPECT_EQ(
      predict_inference(llama(), question).of("kv"),
      values / 2 + values / 32 * 4);
  question.kv.keep_full = 16;
  EXPECT_EQ(
      predict_inference(llama(), question).of("kv"),
      (values / 2 + values / 32 * 4) / 2048 * 2032 + values / 2048 * 16 * 2);
  question.set_kv_bits(32);
  EXPECT_EQ(predict_inference(llama(), question).of("kv"), values * 4);
}

TEST(PredictInference, AWindowedLayerStopsGrowing) {
  // Gemma 3 1B: of 26 layers each sixth sees everything, the other 22 the last
  // 512 tokens; one head of 256. A ring has room for the window and a step of
  // 512: 1023, in whole 32s.
  const PlannedModel gemma = plan_model("gemma-3-1b");
  const std::uint64_t token = 2ULL * 256 * 2;
  const auto at = [&](std::int64_t tokens) {
    return predict_inference(gemma, asked(tokens));
  };
  EXPECT_EQ(part(at(2048), "KV cache: windows"), 22 * 1024 * token);
  EXPECT_EQ(part(at(32768), "KV cache: windows"), 22 * 1024 * token);
  EXPECT_EQ(part(at(2048), "KV cache: full attention"), 4 * 2048 * token);
  EXPECT_GE(part(at(32768), "KV cache: full attention"), 4 * 32768 * token);
}

TEST(PredictInference, ALatentTakesItsRankAndTheRotatedKeyOnce) {
  // DeepSeek V2 Lite: 27 layers keep a latent of 512 and a key of 64, whatever
  // the number of heads.
  const auto out =
      predict_inference(plan_model("deepseek-v2-lite"), asked(2048));
  EXPECT_EQ(part(out, "KV cache: latent"), 27ULL * 2048 * (512 + 64) * 2);
  EXPECT_EQ(part(out, "KV cache: full attention"), 0U);
}

PlannedModel recurrent_model() {
  RecurrentSpec recurrent;
  recurrent.kind = RecurrentKind::mamba2;
  recurrent.heads = 8;
  recurrent.head_dim = 64;
  recurrent.state_dim = 128;
  recurrent.conv_width = 4;
  recurrent.conv_channels = 768;
  PlannedModel model;
  model.spec.dim = 256;
  model.spec.vocab = 1000;
  model.spec.layers.resize(2);
  for (LayerSpec& layer : model.spec.layers) {
    layer.recurrent = recurrent;
  }
  return model;
}

TEST(PredictInference, ARecurrentStateDoesNotGrowWithTheContext) {
  const PlannedModel model = recurrent_model();
  const std::uint64_t state = 2ULL * (8 * 64 * 128 + 768 * 3) * 4;
  for (const std::int64_t tokens : {1, 1000, 100000}) {
    const auto out = predict_inference(model, asked(tokens));
    EXPECT_EQ(out.of("state"), state);
    EXPECT_EQ(out.of("kv"), 0U);
  }
}

TEST(PredictInference, AStepTooShortForTilesKeepsFloatsAndCodes) {
  InferenceQuestion question = asked(4096);
  question.gpu = false;
  question.quantize = WeightFormat{4, 64};
  question.prefill_step = 8;
  // The stream, its norm, a sub-layer's output, queries, keys and values, what
  // was attended to, rotations; and in groups of 32 codes of two planes and 21
  // bytes more the inputs of products.
  const std::uint64_t floats = 3 * 4096 + 3 * 4096 + 4096 + 2 * 128;
  const std::uint64_t groups = (4096 + 4096 + 11008) / 32;
  const std::uint64_t wanted = 8 * (4 * floats + groups * (2 * 32 + 21));
  const auto kept = [&] {
    return part(
        predict_inference(llama(), question),
        "prefill, 8 tokens a step");
  };
  EXPECT_EQ(kept(), wanted);
  if (can_force(Isa::amx)) {
    const Isa before = active_isa();
    force_isa(Isa::amx);
    EXPECT_EQ(kept(), wanted);
    force_isa(before);
  }
}

TEST(PredictInference, OnTilesThreadsKeepMoreAndActivationsTakeHalves) {
  if (!can_force(Isa::amx) || active_isa() == Isa::amx) {
    GTEST_SKIP() << "no other instruction set to compare with";
  }
  InferenceQuestion question = asked(4096);
  question.gpu = false;
  const auto transients = [&](int step) {
    question.prefill_step = step;
    return static_cast<double>(
        predict_inference(llama(), question).of("transients"));
  };
  const double few = transients(128);
  const double many = transients(640);
  const Isa before = active_isa();
  force_isa(Isa::amx);
  const double few_tiled = transients(128);
  const double many_tiled = transients(640);
  force_isa(before);
  // Of a token: what attention reads and the hidden values, in halves and no
  // longer in floats or codes.
  EXPECT_LT(many_tiled - few_tiled, many - few);
  // Of a thread: sums of 8 pairs of row blocks and 512 tokens at least.
  const double threads = ThreadPool::default_threads();
  const double grown = few_tiled - (many_tiled - few_tiled) / 4;
  EXPECT_GT(grown - (few - (many - few) / 4), threads * 512 * 8 * 32 * 4);
}

TEST(PredictInference, WithTilesEachThreadHasMemoryOfItsOwn) {
  if (!can_force(Isa::amx)) {
    GTEST_SKIP() << "no matrix tiles here";
  }
  const auto with = [&](int threads) {
    InferenceQuestion question;
    question.threads = threads;
    return predict_inference(plan_model("llama-2-7b"), question).total();
  };
  const Isa before = active_isa();
  force_isa(Isa::amx);
  const auto one = with(1);
  const auto two = with(2);
  const auto nine = with(9);
  force_isa(before);
  EXPECT_GT(two, one);
  EXPECT_EQ(nine - one, 8 * (two - one));
}

TEST(PredictInference, AShorterPrefillStepTakesLessInPassing) {
  InferenceQuestion question = asked(4096);
  const auto long_step = predict_inference(llama(), question);
  question.prefill_step = 128;
  const auto short_step = predict_inference(llama(), question);
  EXPECT_LT(short_step.of("transients"), long_step.of("transients"));
  EXPECT_LT(short_step.of("cache"), long_step.of("cache"));
  EXPECT_EQ(short_step.of("weights"), long_step.of("weights"));
  // No step is longer than the context.
  question.context_tokens = 64;
  question.prefill_step = 512;
  EXPECT_GT(
      part(predict_inference(llama(), question), "prefill, 64 tokens a step"),
      0U);
}

TEST(PredictInference, LogitsAreFloatsOfTheVocabularyHeldTwice) {
  InferenceQuestion question = asked(2048);
  question.batch = 3;
  EXPECT_EQ(
      predict_inference(llama(), question).of("logits"),
      3ULL * 32000 * 4 * 2);
}

TEST(PredictInference, TheMachinesConstantsAreAddedAsTheyAre) {
  InferenceQuestion question = asked(512);
  question.constants = {1'000'000, 10};
  const auto out = predict_inference(llama(), question);
  EXPECT_EQ(out.of("runtime"), 1'000'000U + 10U * 32000);
}

TEST(PredictInference, ImpossibleQuestionsAreRefused) {
  const auto refused = [](auto change) {
    InferenceQuestion question = asked(512);
    change(question);
    EXPECT_THROW(predict_inference(llama(), question), UserError);
  };
  refused([](InferenceQuestion& q) { q.context_tokens = 0; });
  refused([](InferenceQuestion& q) { q.batch = 0; });
  refused([](InferenceQuestion& q) { q.prefill_step = 0; });
  refused([](InferenceQuestion& q) { q.set_kv_bits(5); });
}

}  // namespace
}  // namespace roofline
