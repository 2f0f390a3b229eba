// Every family with its cache in codes, on the fused step where that runs it
// and as a graph with the CPU's kernels.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "model/golden.h"
#include "roofline/base/errors.h"
#include "roofline/model/session.h"

namespace roofline {
namespace {

using testing::chunked_logits;
using testing::Golden;
using testing::max_error;
using testing::open_golden;
using testing::to_host;

/// Root mean square in standard deviations of the logits. Codes of 8 bits move
/// each key and value by at most 1/510 of its group's range; single logits move
/// farther, most where a token goes to another expert: of phimoe's 80 rows one
/// does, which moves a logit by 0.75, and with the experts of floats by 0.02.
/// `transformers` with the same codes is as far, in gemma4_text (0.26) and
/// every other family (bench/kv_codes_peers.py, docs/kv-cache.md). The goldens'
/// weights are random and their heads small: real models are less sensitive.
constexpr double kNearFloat = 0.1;
/// The same tokens in other pieces: float32 sums in another order may move a
/// value across the border between two codes.
constexpr double kSameCodes = 0.02;
/// Nothing but float32 sums in another order.
constexpr double kSameFloats = 1e-3;

KvFormat codes_of(int bits, int keep_full = 0) {
  KvFormat format;
  format.key_bits = format.value_bits = bits;
  format.group_size = 32;
  format.keep_full = keep_full;
  return format;
}

double rms_error(
    const std::vector<float>& actual,
    const std::vector<float>& expected) {
  double sum = 0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    sum += std::pow(double{actual[i]} - expected[i], 2);
  }
  const double mean = sum / static_cast<double>(expected.size());
  return std::sqrt(mean) / testing::standard_deviation(expected);
}

std::unique_ptr<Decoder> load(
    const Golden& golden,
    const KvFormat& format,
    bool graph,
    bool exact = true) {
  ModelOptions options;
  options.device = DeviceChoice::cpu;
  options.exact = exact;
  options.graph_on_cpu = graph;
  options.kv = format;
  return Decoder::load(*golden.checkpoint, options);
}

bool has_keys(const ModelSpec& spec) {
  return std::any_of(
      spec.layers.begin(),
      spec.layers.end(),
      [](const LayerSpec& layer) { return layer.attention.has_value(); });
}

/// "graph_llama", "fused_llama".
std::vector<std::string> runs() {
  std::vector<std::string> names;
  for (const auto& name : testing::goldens_that(has_keys)) {
    names.push_back("graph_" + name);
  }
  for (const auto& name : testing::fused_golden_names()) {
    names.push_back("fused_" + name);
  }
  return names;
}

class KvCodesGolden : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    graph_ = GetParam().starts_with("graph_");
    golden_ = open_golden(GetParam().substr(6));
  }
  std::vector<float> logits(const KvFormat& format, std::size_t chunk) const {
    const auto decoder = load(golden_, format, graph_);
    return chunked_logits(*decoder, golden_.ids[0], chunk);
  }

  bool graph_ = false;
  Golden golden_;
};

INSTANTIATE_TEST_SUITE_P(
    AllFamilies,
    KvCodesGolden,
    ::testing::ValuesIn(runs()),
    [](const auto& info) { return info.param; });

TEST_P(KvCodesGolden, EightBitsStayNearFloatsInAnyPieces) {
  const auto whole = logits(codes_of(8), 40);
  ASSERT_EQ(whole.size(), golden_.logits[0].size());
  const double error = rms_error(whole, golden_.logits[0]);
  EXPECT_LT(error, kNearFloat);
  // Codes it is: floats would be nearer.
  EXPECT_GT(error, 1e-5);
  for (const std::size_t chunk : {1, 7}) {
    EXPECT_LT(max_error(logits(codes_of(8), chunk), whole), kSameCodes)
        << "in chunks of " << chunk;
  }
}

TEST_P(KvCodesGolden, TheFastPathStaysAsNear) {
  // It rounds queries and weights too, and f16 is beside the codes.
  const auto fast = load(golden_, codes_of(8, 3), graph_, false);
  for (const std::size_t chunk : {1, 5}) {
    const auto actual = chunked_logits(*fast, golden_.ids[0], chunk);
    EXPECT_LT(rms_error(actual, golden_.logits[0]), kNearFloat)
        << "in chunks of " << chunk;
  }
}

TEST_P(KvCodesGolden, FewerBitsAreFartherFromFloats) {
  const auto& floats = golden_.logits[0];
  EXPECT_GT(
      max_error(logits(codes_of(4), 40), floats),
      max_error(logits(codes_of(8), 40), floats));
}

TEST_P(KvCodesGolden, TheFirstTokensAreAsWithFloats) {
  const std::size_t kept = 9;
  const auto vocab = static_cast<std::ptrdiff_t>(
      golden_.logits[0].size() / golden_.ids[0].size());
  const auto first = [&](const std::vector<float>& all) {
    return std::vector<float>(
        all.begin(),
        all.begin() + static_cast<std::ptrdiff_t>(kept) * vocab);
  };
  const auto floats = logits({}, 5);
  const auto kept_full = logits(codes_of(4, static_cast<int>(kept)), 5);
  EXPECT_LT(max_error(first(kept_full), first(floats)), kSameFloats);
  EXPECT_GT(max_error(kept_full, floats), kSameFloats);
  EXPECT_GT(
      max_error(first(logits(codes_of(4), 5)), first(floats)),
      kSameFloats);
  // All of them.
  EXPECT_LT(max_error(logits(codes_of(4, 40), 5), floats), kSameFloats);
}

TEST_P(KvCodesGolden, WhatIsAllocatedIsWhatWasPredicted) {
  for (const KvFormat& format : {codes_of(8), codes_of(4, 6)}) {
    const auto decoder = load(golden_, format, graph_);
    KvOptions options;
    options.max_chunk = 16;
    const auto cache = decoder->make_cache(options);
    EXPECT_EQ(cache->options().format, format);
    for (int tokens = 16; tokens <= 320; tokens += 16) {
      cache->reserve(16);
      EXPECT_EQ(
          cache->bytes(),
          KvCache::bytes_for(decoder->spec(), cache->options(), tokens));
    }
  }
}

TEST_P(KvCodesGolden, GoingBackForgetsCodes) {
  const auto decoder = load(golden_, codes_of(8, 3), graph_);
  const std::span<const std::int32_t> ids = golden_.ids[0];
  KvOptions options;
  options.max_chunk = 8;
  Session straight(*decoder, options);
  const auto expected = to_host(*straight.extend(ids.first(20)));
  Session back(*decoder, options);
  back.extend(ids.first(12));
  if (!back.can_try(5)) {
    GTEST_SKIP() << "recurrent, or one of its ropes ends here";
  }
  back.extend(ids.last(5));
  EXPECT_EQ(back.keep_prefix_of(ids.first(13)), 12);
  // In the same pieces, so that sums are in the same order.
  back.extend(ids.subspan(12, 4));
  const auto actual = to_host(*back.extend(ids.subspan(16, 4)));
  EXPECT_LT(max_error(actual, expected), kSameCodes);
}

TEST(KvCodes, ModelsWithoutKeysAndUnequalLatentsAreRefused) {
  const auto refused = [](const std::string& name, const KvFormat& format) {
    const Golden golden = open_golden(name);
    EXPECT_THROW(load(golden, format, true), UserError) << name;
  };
  refused("mamba2", codes_of(8));
  KvFormat unequal = codes_of(8);
  unequal.value_bits = 4;
  refused("deepseek_v3", unequal);
}

TEST(KvCodes, KeysAndValuesHaveTheirOwnBits) {
  const Golden golden = open_golden("llama");
  const auto error = [&](int key_bits, int value_bits, bool graph) {
    KvFormat format = codes_of(key_bits);
    format.value_bits = value_bits;
    const auto decoder = load(golden, format, graph);
    return max_error(
        chunked_logits(*decoder, golden.ids[0], 16),
        golden.logits[0]);
  };
  for (const bool graph : {false, true}) {
    const double both = error(8, 8, graph);
    EXPECT_GT(error(4, 8, graph), both);
    EXPECT_GT(error(8, 4, graph), both);
    EXPECT_LT(error(8, 16, graph), both);
    EXPECT_LT(error(16, 8, graph), both);
    EXPECT_LT(error(16, 16, graph), error(16, 8, graph));
  }
}

TEST(KvCodes, ARotatingCacheKeepsWhatIsKeptInFull) {
  const Golden golden = open_golden("llama");
  const auto decoder = load(golden, codes_of(8, 6), false);
  KvOptions options;
  options.max_tokens = 20;
  options.max_chunk = 5;
  const auto cache = decoder->make_cache(options);
  const auto floats = load(golden, {}, false);
  // As many first tokens: the same are seen.
  options.keep_tokens = 6;
  const auto plain = floats->make_cache(options);
  std::vector<float> codes_logits, float_logits;
  for (std::size_t at = 0; at < 40; at += 5) {
    const auto piece = std::span(golden.ids[0]).subspan(at, 5);
    const Slice slice{cache.get(), piece, LogitRows::last};
    codes_logits = to_host(decoder->forward({&slice, 1}));
    const Slice other{plain.get(), piece, LogitRows::last};
    float_logits = to_host(floats->forward({&other, 1}));
  }
  EXPECT_EQ(cache->segments(0).front().count, 6);
  EXPECT_LT(rms_error(codes_logits, float_logits), kNearFloat);
  options.max_tokens = 6;
  EXPECT_THROW(decoder->make_cache(options), UserError);
}

}  // namespace
}  // namespace roofline
