#include "roofline/model/cpu_decoder.h"

#include <filesystem>

#include <gtest/gtest.h>

#include "model/golden.h"
#include "roofline/base/cpu_features.h"
#include "roofline/base/errors.h"

namespace roofline {
namespace {

using testing::argmax;
using testing::chunked_logits;
using testing::Golden;
using testing::max_error;
using testing::open_golden;
using testing::to_host;

/// In standard deviations of the logits.
constexpr double kTolerance = 0.01;

/// Every golden in the folder: the step is to run whatever spec/ can describe.
std::vector<std::string> all_goldens() {
  std::vector<std::string> names;
  for (const auto& entry :
       std::filesystem::directory_iterator(ROOFLINE_GOLDENS)) {
    if (std::filesystem::exists(entry.path() / "golden.safetensors")) {
      names.push_back(entry.path().filename().string());
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<Isa> all_isas() {
  std::vector<Isa> isas{Isa::generic};
  for (const Isa isa : {Isa::avx2, Isa::avx512}) {
    if (isa <= best_isa()) {
      isas.push_back(isa);
    }
  }
  return isas;
}

ModelOptions options_for(bool exact) {
  ModelOptions options;
  options.device = DeviceChoice::cpu;
  options.exact = exact;
  options.cache_packed = false;
  return options;
}

std::unique_ptr<Decoder> load(const Golden& golden, bool exact) {
  return load_cpu_decoder(*golden.checkpoint, options_for(exact));
}

/// Mean over the rows of KL(softmax(expected) ‖ softmax(actual)), in nats.
double mean_kl(
    std::span<const float> expected,
    std::span<const float> actual,
    std::size_t vocab) {
  const auto log_sum = [&](std::span<const float> row) {
    const double top = *std::max_element(row.begin(), row.end());
    double sum = 0;
    for (const float logit : row) {
      sum += std::exp(logit - top);
    }
    return top + std::log(sum);
  };
  double total = 0;
  const std::size_t rows = expected.size() / vocab;
  for (std::size_t r = 0; r < rows; ++r) {
    const auto p = expected.subspan(r * vocab, vocab);
    const auto q = actual.subspan(r * vocab, vocab);
    const double p_sum = log_sum(p);
    const double q_sum = log_sum(q);
    for (std::size_t i = 0; i < vocab; ++i) {
      const double log_p = p[i] - p_sum;
      total += std::exp(log_p) * (log_p - (q[i] - q_sum));
    }
  }
  return total / static_cast<double>(rows);
}

class CpuDecoderGolden : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    golden_ = open_golden(GetParam());
    decoder_ = load(golden_, true);
  }
  void TearDown() override {
    force_isa(best_isa());
  }
  void expect_golden(std::size_t chunk) {
    for (std::size_t i = 0; i < golden_.ids.size(); ++i) {
      const auto logits = chunked_logits(*decoder_, golden_.ids[i], chunk);
      EXPECT_LT(max_error(logits, golden_.logits[i]), kTolerance)
          << "sequence " << i << " in chunks of " << chunk;
    }
  }

  Golden golden_;
  std::unique_ptr<Decoder> decoder_;
};

TEST_P(CpuDecoderGolden, GivesTheReferenceLogitsWithEveryInstructionSet) {
  for (const Isa isa : all_isas()) {
    force_isa(isa);
    SCOPED_TRACE(isa_name(isa));
    expect_golden(40);
    expect_golden(1);
  }
}

TEST_P(CpuDecoderGolden, GivesTheReferenceLogitsInChunks) {
  for (const std::size_t chunk : {3, 7, 16, 39}) {
    expect_golden(chunk);
  }
}

TEST_P(CpuDecoderGolden, GivesTheReferenceLogitsForTwoSlicesInOneStep) {
  std::vector<std::unique_ptr<KvCache>> caches;
  std::vector<Slice> slices;
  for (const auto& ids : golden_.ids) {
    caches.push_back(decoder_->make_cache({}));
    slices.push_back({caches.back().get(), ids, LogitRows::all});
  }
  auto expected = golden_.logits[0];
  expected.insert(
      expected.end(), golden_.logits[1].begin(), golden_.logits[1].end());
  const auto logits = to_host(decoder_->forward(slices, 40));
  EXPECT_LT(max_error(logits, expected), kTolerance);
}

TEST_P(CpuDecoderGolden, SlicesAtDifferentPlacesDoNotMix) {
  const auto vocab = static_cast<std::size_t>(decoder_->spec().vocab);
  const auto first = decoder_->make_cache({});
  const auto second = decoder_->make_cache({});
  const std::span<const std::int32_t> a = golden_.ids[0];
  const std::span<const std::int32_t> b = golden_.ids[1];
  const Slice start{first.get(), a.first(30), LogitRows::last};
  decoder_->forward({&start, 1}, 40);
  const std::vector<Slice> both = {
      {second.get(), b, LogitRows::last},
      {first.get(), a.subspan(30, 10), LogitRows::all}};
  const auto logits = to_host(decoder_->forward(both, 40));
  std::vector<float> expected(
      golden_.logits[1].end() - vocab, golden_.logits[1].end());
  expected.insert(
      expected.end(),
      golden_.logits[0].end() - 10 * vocab,
      golden_.logits[0].end());
  EXPECT_LT(max_error(logits, expected), kTolerance);
}

TEST_P(CpuDecoderGolden, FastModeStaysNearExactMode) {
  // bf16 checkpoints: the fast mode differs by its half-float cache alone.
  const auto fast = load(golden_, false);
  const auto vocab = static_cast<std::size_t>(decoder_->spec().vocab);
  const auto exact_logits = chunked_logits(*decoder_, golden_.ids[0], 40);
  const auto fast_logits = chunked_logits(*fast, golden_.ids[0], 40);
  const double kl = mean_kl(exact_logits, fast_logits, vocab);
  RecordProperty("mean_kl", std::to_string(kl));
  EXPECT_LT(kl, 1e-5);
}

TEST_P(CpuDecoderGolden, EightBitActivationsStayNearExactOnes) {
  ModelOptions options = options_for(true);
  options.quantize = QuantizeChoice{8, 32};
  const auto exact = load_cpu_decoder(*golden_.checkpoint, options);
  options.exact = false;
  const auto fast = load_cpu_decoder(*golden_.checkpoint, options);
  const auto vocab = static_cast<std::size_t>(decoder_->spec().vocab);
  const auto exact_logits = chunked_logits(*exact, golden_.ids[0], 40);
  for (const Isa isa : all_isas()) {
    force_isa(isa);
    for (const std::size_t chunk : {40, 1}) {
      const auto fast_logits = chunked_logits(*fast, golden_.ids[0], chunk);
      const double kl = mean_kl(exact_logits, fast_logits, vocab);
      RecordProperty("mean_kl", std::to_string(kl));
      EXPECT_LT(kl, 1e-3) << isa_name(isa) << ", chunks of " << chunk;
    }
  }
  // Quantizing to 8 bits must not move the logits far either.
  EXPECT_LT(mean_kl(golden_.logits[0], exact_logits, vocab), 1e-3);
}

INSTANTIATE_TEST_SUITE_P(
    AllFamilies,
    CpuDecoderGolden,
    ::testing::ValuesIn(all_goldens()),
    [](const auto& info) { return info.param; });

} // namespace
} // namespace roofline
