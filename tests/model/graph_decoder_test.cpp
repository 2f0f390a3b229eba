#include "roofline/model/graph_decoder.h"

#include <gtest/gtest.h>
#include <mlx/memory.h>

#include "model/golden.h"
#include "roofline/base/errors.h"

namespace roofline {
namespace {

using testing::argmax;
using testing::chunked_logits;
using testing::Golden;
using testing::load_exact_graph;
using testing::max_error;
using testing::open_golden;
using testing::to_host;

/// In standard deviations of the logits.
constexpr double kGraphTolerance = 0.01;

class GraphDecoderGolden : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    golden_ = open_golden(GetParam());
    decoder_ = load_exact_graph(golden_);
  }
  void expect_golden(std::size_t chunk) {
    for (std::size_t i = 0; i < golden_.ids.size(); ++i) {
      const auto logits = chunked_logits(*decoder_, golden_.ids[i], chunk);
      EXPECT_LT(max_error(logits, golden_.logits[i]), kGraphTolerance)
          << "sequence " << i << " in chunks of " << chunk;
    }
  }

  Golden golden_;
  std::unique_ptr<Decoder> decoder_;
};

TEST_P(GraphDecoderGolden, GivesTheReferenceLogitsInOnePiece) {
  expect_golden(40);
}

TEST_P(GraphDecoderGolden, GivesTheReferenceLogitsInChunks) {
  for (const auto chunk : {3, 7, 16, 39}) {
    expect_golden(chunk);
  }
}

TEST_P(GraphDecoderGolden, GivesTheReferenceLogitsTokenByToken) {
  expect_golden(1);
}

TEST_P(GraphDecoderGolden, GivesTheReferenceLogitsForTwoSlicesInOneStep) {
  std::vector<std::unique_ptr<KvCache>> caches;
  std::vector<Slice> slices;
  for (const auto& ids : golden_.ids) {
    caches.push_back(decoder_->make_cache({}));
    slices.push_back({caches.back().get(), ids, LogitRows::all});
  }
  auto expected = golden_.logits[0];
  expected.insert(
      expected.end(),
      golden_.logits[1].begin(),
      golden_.logits[1].end());
  const auto logits = to_host(decoder_->forward(slices, 40));
  EXPECT_LT(max_error(logits, expected), kGraphTolerance);
}

TEST_P(GraphDecoderGolden, SlicesAtDifferentPlacesDoNotMix) {
  const auto vocab = static_cast<std::size_t>(decoder_->spec().vocab);
  const auto first = decoder_->make_cache({});
  const auto second = decoder_->make_cache({});
  const std::span<const std::int32_t> a = golden_.ids[0];
  const std::span<const std::int32_t> b = golden_.ids[1];
  const Slice start{first.get(), a.first(30), LogitRows::last};
  mx::eval(decoder_->forward({&start, 1}, 40));
  const std::vector<Slice> both = {
      {second.get(), b, LogitRows::last},
      {first.get(), a.subspan(30, 10), LogitRows::all}};
  const auto logits = to_host(decoder_->forward(both, 40));
  std::vector<float> expected(
      golden_.logits[1].end() - vocab,
      golden_.logits[1].end());
  expected.insert(
      expected.end(),
      golden_.logits[0].end() - 10 * vocab,
      golden_.logits[0].end());
  EXPECT_LT(max_error(logits, expected), kGraphTolerance);
}

INSTANTIATE_TEST_SUITE_P(
    AllFamilies,
    GraphDecoderGolden,
    ::testing::ValuesIn(testing::golden_names()),
    [](const auto& info) { return info.param; });

/// Those that a CPU runs as a graph, attention by its own kernels.
std::vector<std::string> names_without_fused_step() {
  std::vector<std::string> names;
  for (const auto& name : testing::golden_names()) {
    if (missing_in_cpu_step(open_golden(name).checkpoint->spec())) {
      names.push_back(name);
    }
  }
  return names;
}

class GraphWithOwnAttention : public ::testing::TestWithParam<std::string> {};

TEST_P(GraphWithOwnAttention, GivesTheReferenceLogitsInPiecesAndInABatch) {
  const auto golden = open_golden(GetParam());
  ModelOptions options;
  options.device = DeviceChoice::cpu;
  options.exact = true;
  const auto decoder = Decoder::load(*golden.checkpoint, options);
  const auto pieces = chunked_logits(*decoder, golden.ids[0], 7);
  EXPECT_LT(max_error(pieces, golden.logits[0]), kGraphTolerance);
  // So many tokens that a layer is computed before the next is begun.
  ASSERT_GE(golden.ids[0].size() + golden.ids[1].size(), 64U);
  const auto first = decoder->make_cache({});
  const auto second = decoder->make_cache({});
  const std::vector<Slice> both = {
      {first.get(), golden.ids[0], LogitRows::all},
      {second.get(), golden.ids[1], LogitRows::all}};
  auto expected = golden.logits[0];
  expected.insert(
      expected.end(),
      golden.logits[1].begin(),
      golden.logits[1].end());
  const auto logits = to_host(decoder->forward(both, 40));
  EXPECT_LT(max_error(logits, expected), kGraphTolerance);
}

INSTANTIATE_TEST_SUITE_P(
    Families,
    GraphWithOwnAttention,
    ::testing::ValuesIn(names_without_fused_step()),
    [](const auto& info) { return info.param; });

TEST(GraphDecoder, ARecurrentStateHoldsNoneOfALongStepsInputs) {
  const auto golden = open_golden("lfm2");
  const auto decoder = load_exact_graph(golden);
  constexpr std::size_t kTokens = 500;
  std::vector<std::int32_t> ids(kTokens, 5);
  const auto cache = decoder->make_cache({});
  const Slice slice{cache.get(), ids, LogitRows::last};
  mx::eval(decoder->forward({&slice, 1}, kTokens));
  int checked = 0;
  for (int i = 0; i < static_cast<int>(decoder->spec().layers.size()); ++i) {
    const auto& recurrent = decoder->spec().layers[i].recurrent;
    if (recurrent) {
      const auto width = static_cast<std::size_t>(recurrent->conv_channels);
      EXPECT_LT(
          cache->recurrent(i).conv_inputs.buffer_size(),
          kTokens * width * sizeof(float) / 2);
      ++checked;
    }
  }
  EXPECT_GT(checked, 0);
}

TEST(GraphDecoder, FastModeStaysNearTheReference) {
  const auto golden = open_golden("llama");
  ModelOptions options;
  options.device = DeviceChoice::cpu;
  options.graph_on_cpu = true;
  const auto decoder = Decoder::load(*golden.checkpoint, options);
  const auto logits = chunked_logits(*decoder, golden.ids[0], 16);
  EXPECT_LT(max_error(logits, golden.logits[0]), 0.05);
}

TEST(GraphDecoder, ACacheThatOneChunkFilledGrowsWithWhatItHolds) {
  const auto golden = open_golden("llama");
  const auto decoder = load_exact_graph(golden);
  std::vector<std::int32_t> ids;
  for (int i = 0; i < 300; ++i) {
    ids.push_back((i * 37 + 11) % decoder->spec().vocab);
  }
  const auto pieces = chunked_logits(*decoder, ids, 64);
  // A cache has room for 256 tokens at first.
  EXPECT_LT(max_error(chunked_logits(*decoder, ids, 256), pieces), 1e-4);
}

TEST(GraphDecoder, RowsOfTheLastTokenAreTheLastOfAll) {
  const auto golden = open_golden("llama");
  const auto decoder = load_exact_graph(golden);
  const auto cache = decoder->make_cache({});
  const Slice slice{cache.get(), golden.ids[0], LogitRows::last};
  const auto logits = to_host(decoder->forward({&slice, 1}));
  ASSERT_EQ(logits.size(), static_cast<std::size_t>(decoder->spec().vocab));
  const std::vector<float> expected(
      golden.logits[0].end() - decoder->spec().vocab,
      golden.logits[0].end());
  EXPECT_LT(max_error(logits, expected), kGraphTolerance);
}

TEST(GraphDecoder, ATokenOutsideTheVocabularyIsAnError) {
  const auto golden = open_golden("llama");
  const auto decoder = load_exact_graph(golden);
  const auto cache = decoder->make_cache({});
  for (const std::int32_t bad : {-1, decoder->spec().vocab}) {
    const std::vector<std::int32_t> tokens = {1, bad};
    const Slice slice{cache.get(), tokens, LogitRows::last};
    EXPECT_THROW(decoder->forward({&slice, 1}), UserError);
    EXPECT_EQ(cache->position(), 0);
  }
}

TEST(GraphDecoder, CountsTheBytesThatADecodeStepReads) {
  const auto golden = open_golden("llama");
  const auto decoder = load_exact_graph(golden);
  std::size_t expected = 0;
  for (const auto& tensor : golden.checkpoint->tensors()) {
    const bool head_is_embed = decoder->spec().tied_embeddings;
    if (tensor.name != "embed" || head_is_embed) {
      // Norms are held in float32, matrices as they are stored.
      expected += tensor.rows > 1 ? tensor.total_bytes() : tensor.cols * 4;
    }
  }
  EXPECT_EQ(decoder->step_weight_bytes(), expected);
}

/// The longest sequence so far must not cost memory beyond its bound.
TEST(GraphDecoder, ARotatingCacheBoundsTheMemoryOfALongRun) {
  const auto golden = open_golden("llama");
  const auto decoder = load_exact_graph(golden);
  KvOptions options;
  options.max_tokens = 32;
  options.max_chunk = 8;
  const auto cache = decoder->make_cache(options);
  std::int32_t token = 1;
  std::size_t early = 0;
  for (int i = 0; i < 600; ++i) {
    const Slice slice{cache.get(), {&token, 1}, LogitRows::last};
    token = argmax(to_host(decoder->forward({&slice, 1})));
    if (i == 100) {
      early = mx::get_active_memory();
    }
  }
  EXPECT_EQ(cache->position(), 600);
  EXPECT_EQ(mx::get_active_memory(), early);
}

TEST(GraphDecoder, ARotatingCacheThatNeverFillsChangesNothing) {
  const auto golden = open_golden("gemma2");
  const auto decoder = load_exact_graph(golden);
  KvOptions options;
  options.max_tokens = 40;
  options.max_chunk = 7;
  const auto cache = decoder->make_cache(options);
  std::vector<float> all;
  std::span<const std::int32_t> ids = golden.ids[0];
  while (!ids.empty()) {
    const auto piece = ids.first(std::min<std::size_t>(7, ids.size()));
    const Slice slice{cache.get(), piece, LogitRows::all};
    const auto logits = to_host(decoder->forward({&slice, 1}, 40));
    all.insert(all.end(), logits.begin(), logits.end());
    ids = ids.subspan(piece.size());
  }
  EXPECT_LT(max_error(all, golden.logits[0]), kGraphTolerance);
}

}  // namespace
}  // namespace roofline
