// Models with mixtures of experts and latent attention: what the tests of all
// goldens leave out.
#include <gtest/gtest.h>

#include "model/golden.h"
#include "roofline/model/graph_mixture.h"

namespace roofline {
namespace {

using testing::argmax;
using testing::chunked_logits;
using testing::Golden;
using testing::max_error;
using testing::open_golden;
using testing::to_host;

std::unique_ptr<Decoder> load(const Golden& golden, ModelOptions options) {
  options.device = DeviceChoice::cpu;
  return Decoder::load(*golden.checkpoint, options);
}

ModelOptions exact() {
  ModelOptions options;
  options.exact = true;
  return options;
}

bool is_of_these(const ModelSpec& spec) {
  return std::any_of(
      spec.layers.begin(),
      spec.layers.end(),
      [](const LayerSpec& layer) {
        return (layer.feed_forward && layer.feed_forward->mixture) ||
               (layer.attention && layer.attention->latent);
      });
}

class MixtureGolden : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    golden_ = open_golden(GetParam());
    decoder_ = load(golden_, exact());
  }
  Golden golden_;
  std::unique_ptr<Decoder> decoder_;
};

TEST_P(MixtureGolden, SaysTheReferenceContinuation) {
  constexpr std::size_t kGiven = 12;
  std::vector<std::int32_t> tokens(
      golden_.greedy.begin(),
      golden_.greedy.begin() + kGiven);
  while (tokens.size() < golden_.greedy.size()) {
    // Anew each time: some ropes depend on the whole length.
    const auto cache = decoder_->make_cache({});
    const Slice slice{cache.get(), tokens, LogitRows::last};
    tokens.push_back(argmax(to_host(decoder_->forward({&slice, 1}))));
  }
  EXPECT_EQ(tokens, golden_.greedy);
}

TEST_P(MixtureGolden, StaysNearTheReferenceInFastMode) {
  const auto fast = load(golden_, {});
  const auto logits = chunked_logits(*fast, golden_.ids[0], 16);
  EXPECT_LT(max_error(logits, golden_.logits[0]), 0.2);
}

INSTANTIATE_TEST_SUITE_P(
    AllFamilies,
    MixtureGolden,
    ::testing::ValuesIn(testing::goldens_that(is_of_these)),
    [](const auto& info) { return info.param; });

/// How far logits are from the reference, root mean square.
double distance(const Golden& golden, const ModelOptions& options) {
  const auto decoder = load(golden, options);
  const auto logits = chunked_logits(*decoder, golden.ids[0], 40);
  double sum = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const double error = logits[i] - golden.logits[0][i];
    sum += error * error;
  }
  return std::sqrt(sum / static_cast<double>(logits.size())) /
         testing::standard_deviation(golden.logits[0]);
}

TEST(Mixture, ExpertsAreQuantizedAtLoad) {
  // Their rows are cut to groups of 32.
  for (const std::string name : {"mixtral", "gpt_oss", "granitemoe"}) {
    const auto golden = open_golden(name);
    ModelOptions options = exact();
    const auto plain = load(golden, options)->step_weight_bytes();
    options.quantize = QuantizeChoice{8, 32};
    EXPECT_LT(load(golden, options)->step_weight_bytes(), plain) << name;
    // Rounding can change which experts are chosen.
    EXPECT_LT(distance(golden, options), 0.2) << name;
    options.quantize = QuantizeChoice{4, 32};
    EXPECT_GT(distance(golden, options), 0.01) << name;
    EXPECT_LT(distance(golden, options), 0.8) << name;
  }
}

TEST(Mixture, AStepReadsTheChosenExpertsOnly) {
  const auto golden = open_golden("mixtral");
  const auto decoder = load(golden, exact());
  std::size_t all = 0;
  for (const auto& tensor : golden.checkpoint->tensors()) {
    all += tensor.total_bytes();
  }
  const auto& spec = decoder->spec();
  const auto& mixture = *spec.layers[0].feed_forward->mixture;
  const std::size_t expert = 3U * static_cast<std::size_t>(spec.dim) *
                             static_cast<std::size_t>(mixture.expert_hidden) *
                             2;
  const auto idle = static_cast<std::size_t>(mixture.experts - mixture.top_k) *
                    spec.layers.size() * expert;
  const auto embedding = static_cast<std::size_t>(spec.vocab) *
                         static_cast<std::size_t>(spec.dim) * 2;
  // Norms and routers are held in four bytes where the file has two.
  EXPECT_NEAR(
      static_cast<double>(decoder->step_weight_bytes()),
      static_cast<double>(all - idle - embedding),
      0.05 * static_cast<double>(all));
}

TEST(Mixture, GgufFilesGiveTheReferenceLogits) {
  for (const std::string name :
       {"deepseek_v3", "glm4_moe", "gpt_oss_mxfp4", "granitemoe", "mixtral"}) {
    auto golden = open_golden(name);
    golden.checkpoint =
        Checkpoint::open(testing::golden_folder(name) / "model.gguf");
    const auto decoder = load(golden, exact());
    const auto logits = chunked_logits(*decoder, golden.ids[0], 16);
    EXPECT_LT(max_error(logits, golden.logits[0]), 0.01) << name;
  }
}

TEST(Mixture, MlxOpsAndOurKernelsAgree) {
  for (const std::string name : {"qwen3_moe", "gpt_oss", "granitemoe"}) {
    const auto golden = open_golden(name);
    const auto& spec = golden.checkpoint->spec();
    const auto last = spec.layers.size() - 1;
    const auto& layer = spec.layers[last];
    const std::string prefix = "layers." + std::to_string(last);
    for (const int bits : {0, 8}) {
      GraphWeightOptions options;
      if (bits > 0) {
        options.quantize = QuantizeChoice{bits, 32};
      }
      const auto run = [&](int tokens) {
        const GraphWeights weights(*golden.checkpoint, options);
        const GraphMixture mixture(
            *layer.feed_forward,
            layer.norm,
            prefix + ".feed_forward.",
            weights,
            GraphTypes{});
        const auto x = mx::sin(mx::reshape(
            mx::arange(0, tokens * spec.dim, 1, mx::float32),
            {tokens, spec.dim}));
        return to_host(mixture.forward(x));
      };
      for (const int tokens : {1, 40}) {  // few rows, and enough to be sorted
        options.cpu_kernels.reset();
        const auto by_mlx = run(tokens);
        options.cpu_kernels = LinearMode::exact;
        // Packed scales are half floats.
        EXPECT_LT(max_error(run(tokens), by_mlx), bits > 0 ? 5e-3 : 1e-4)
            << name << ", " << bits << " bits, " << tokens << " tokens";
      }
    }
  }
}

TEST(Latent, TheCacheHoldsTheLatentOnly) {
  const auto golden = open_golden("deepseek_v3");
  const auto decoder = load(golden, exact());
  const auto cache = decoder->make_cache({});
  const Slice slice{cache.get(), golden.ids[0], LogitRows::last};
  mx::eval(decoder->forward({&slice, 1}));
  const auto& latent = *decoder->spec().layers[0].attention->latent;
  const auto& keys = cache->keys(0);
  EXPECT_EQ(keys.shape(1), 1);
  EXPECT_EQ(keys.shape(3), latent.kv_rank + latent.rope_dim);
  EXPECT_EQ(cache->values(0).size(), 0U);
  EXPECT_EQ(
      cache->bytes(),
      KvCache::bytes_for(decoder->spec(), cache->options(), 40));
}

}  // namespace
}  // namespace roofline
