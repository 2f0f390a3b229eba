// The fused step with several threads. `make tsan LAYERS=model
// FILTER='StepThreads*'` runs these under the thread sanitizer: products,
// attention and what stands between them are in pieces here, and read ahead.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <memory>
#include <optional>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "model/golden.h"
#include "roofline/base/op_times.h"
#include "roofline/base/thread_pool.h"
#include "roofline/model/cpu_decoder.h"
#include "roofline/spec/read_config.h"
#include "roofline/weights/random_checkpoint.h"

namespace roofline {
namespace {

using testing::max_error;

using Tokens = std::vector<std::int32_t>;

constexpr int kVocab = 512;
/// Wide enough that each product, and each token's row work, has more pieces
/// than threads.
constexpr int kDim = 256;
constexpr int kThreadsHeadDim = 32;

/// A golden's family with wider layers.
ModelSpec wider(const std::string& golden) {
  std::ifstream file(testing::golden_folder(golden) / "config.json");
  auto config = nlohmann::json::parse(file);
  config["hidden_size"] = kDim;
  config["intermediate_size"] = 3 * kDim;
  config["num_attention_heads"] = kDim / kThreadsHeadDim;
  config["head_dim"] = kThreadsHeadDim;
  config["vocab_size"] = kVocab;
  config["max_position_embeddings"] = 1024;
  config["num_hidden_layers"] = 2;
  if (config.contains("layer_types")) {
    config["layer_types"] = {"sliding_attention", "full_attention"};
  }
  return read_config(config);
}

Tokens some_tokens(int count, int seed) {
  Tokens tokens;
  for (int i = 0; i < count; ++i) {
    tokens.push_back((i * 31 + i / 7 * 5 + seed * 101) % kVocab);
  }
  return tokens;
}

/// Sequences over one decoder; collects the logits of all their steps.
class Runner {
 public:
  explicit Runner(Decoder& decoder) : decoder_(decoder) {}

  KvCache& start(int max_chunk) {
    KvOptions options;
    options.max_chunk = max_chunk;
    caches_.push_back(decoder_.make_cache(options));
    return *caches_.back();
  }
  void step(KvCache& cache, std::span<const std::int32_t> ids, LogitRows rows) {
    const Slice slice{&cache, ids, rows};
    step({&slice, 1});
  }
  void step(std::span<const Slice> slices) {
    // Not by MLX's ops, whose threads aren't instrumented.
    const auto logits = decoder_.forward(slices);
    const auto* data = logits.data<float>();
    all_.insert(all_.end(), data, data + logits.size());
  }
  std::vector<float> take() { return std::move(all_); }

 private:
  Decoder& decoder_;
  std::vector<std::unique_ptr<KvCache>> caches_;
  std::vector<float> all_;
};

/// A prompt in chunks, until the cache has grown twice and attention is cut
/// into splits, then tokens one by one.
std::vector<float> prompt_and_decode(Decoder& decoder) {
  Runner run(decoder);
  KvCache& cache = run.start(128);
  const Tokens prompt = some_tokens(290, 1);
  for (std::span<const std::int32_t> left = prompt; !left.empty();) {
    const auto chunk = left.first(std::min<std::size_t>(128, left.size()));
    run.step(cache, chunk, LogitRows::last);
    left = left.subspan(chunk.size());
  }
  for (const std::int32_t token : some_tokens(4, 2)) {
    run.step(cache, {&token, 1}, LogitRows::last);
  }
  return run.take();
}

/// Guesses are checked and taken back.
std::vector<float> lookup(Decoder& decoder) {
  Runner run(decoder);
  KvCache& cache = run.start(40);
  run.step(cache, some_tokens(40, 3), LogitRows::last);
  for (const int guesses : {1, 4, 8, 17, 33}) {
    run.step(cache, some_tokens(guesses, 4), LogitRows::all);
    cache.truncate(cache.position() - guesses / 2);
  }
  return run.take();
}

/// Sequences at different places in one step, one of them with its prompt.
std::vector<float> batch(Decoder& decoder) {
  Runner run(decoder);
  std::vector<KvCache*> caches;
  for (int i = 0; i < 5; ++i) {
    caches.push_back(&run.start(40));
    run.step(*caches.back(), some_tokens(3 + 9 * i, i), LogitRows::last);
  }
  const Tokens next = some_tokens(5, 6);
  const Tokens prompt = some_tokens(30, 7);
  for (const bool with_prompt : {false, true, false}) {
    std::vector<Slice> slices;
    for (std::size_t i = 0; i < caches.size(); ++i) {
      slices.push_back({caches[i], {&next[i], 1}, LogitRows::last});
    }
    if (with_prompt) {
      slices.push_back({&run.start(40), prompt, LogitRows::last});
    }
    run.step(slices);
  }
  return run.take();
}

/// How weights and cache are held.
struct Form {
  const char* name;
  int weight_bits;
  int key_bits;
  int value_bits;
  bool exact;
  /// Of what threads change, in standard deviations of the logits: parts of
  /// attention are summed up in another order, with which what is rounded to
  /// codes may fall to the other side. Measured: 0.03 and, in codes, 0.09.
  double tolerance;
};

class StepThreads : public ::testing::TestWithParam<Form> {
 protected:
  static std::unique_ptr<Checkpoint> checkpoint(const std::string& golden) {
    return make_random_checkpoint(wider(golden), {GetParam().weight_bits, 32});
  }
  static std::unique_ptr<Decoder> load(
      const Checkpoint& checkpoint,
      ThreadPool& pool) {
    ModelOptions options;
    options.device = DeviceChoice::cpu;
    options.exact = GetParam().exact;
    options.cache_packed = false;
    options.kv.key_bits = GetParam().key_bits;
    options.kv.value_bits = GetParam().value_bits;
    options.kv.group_size = kThreadsHeadDim;
    options.kv.keep_full = options.kv.in_codes() ? 3 : 0;
    return load_cpu_decoder(checkpoint, options, pool);
  }
  /// What `steps` gives with 2 to 4 threads is what one gives.
  template <class Steps>
  static void expect_as_alone(const std::string& golden, Steps steps) {
    const auto weights = checkpoint(golden);
    ThreadPool one(1);
    const auto expected = steps(*load(*weights, one));
    for (const int threads : {2, 3, 4}) {
      ThreadPool pool(threads);
      const auto decoder = load(*weights, pool);
      EXPECT_LT(max_error(steps(*decoder), expected), GetParam().tolerance)
          << golden << " with " << threads << " threads";
    }
  }
};

TEST_P(StepThreads, GiveTheLogitsOfOneInPromptsAndDecoding) {
  // Global attention alone, and windows in rings beside it.
  for (const char* golden : {"llama", "gemma3_text"}) {
    expect_as_alone(golden, prompt_and_decode);
  }
}

TEST_P(StepThreads, GiveTheLogitsOfOneWhereGuessesAreChecked) {
  expect_as_alone("llama", lookup);
}

TEST_P(StepThreads, GiveTheLogitsOfOneInABatch) {
  for (const char* golden : {"llama", "gemma3_text"}) {
    expect_as_alone(golden, batch);
  }
}

TEST_P(StepThreads, MayBeSharedByTwoDecoders) {
  const auto weights = checkpoint("llama");
  ThreadPool pool(3);
  const auto one = load(*weights, pool);
  const auto other = load(*weights, pool);
  const auto expected = lookup(*one);
  std::vector<float> beside;
  std::thread caller([&] { beside = lookup(*other); });
  const auto here = lookup(*one);
  caller.join();
  EXPECT_EQ(here, expected);
  EXPECT_EQ(beside, expected);
}

TEST_P(StepThreads, LogitsMayBeGivenBackInAnotherThread) {
  const auto weights = checkpoint("llama");
  ThreadPool pool(2);
  const auto decoder = load(*weights, pool);
  const auto cache = decoder->make_cache({});
  for (const std::int32_t token : some_tokens(8, 9)) {
    const Slice slice{cache.get(), {&token, 1}, LogitRows::last};
    std::optional<mx::array> logits = decoder->forward({&slice, 1});
    std::thread reader([held = std::exchange(logits, std::nullopt)]() mutable {
      const auto* data = held->data<float>();
      EXPECT_TRUE(std::all_of(data, data + held->size(), [](float value) {
        return std::isfinite(value);
      }));
      held.reset();
    });
    const Slice next{cache.get(), {&token, 1}, LogitRows::last};
    decoder->forward({&next, 1});
    reader.join();
  }
}

TEST_P(StepThreads, AreTimedWhileTheyRun) {
  const auto weights = checkpoint("llama");
  ThreadPool pool(3);
  const auto decoder = load(*weights, pool);
  OpTimes times;
  OpTimes::collect(&times);
  const auto timed = prompt_and_decode(*decoder);
  OpTimes::collect(nullptr);
  EXPECT_EQ(prompt_and_decode(*decoder), timed);
  for (const OpTimes::Total& total : times.totals()) {
    EXPECT_GT(total.seconds, 0.0);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Forms,
    StepThreads,
    ::testing::Values(
        Form{"four_bits", 4, 16, 16, false, 0.1},
        Form{"eight_bits_over_codes", 8, 8, 4, false, 0.3},
        Form{"exact", 16, 16, 16, true, 0.01}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace roofline
