#include "roofline/evaluate/quality.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "decode/fakes.h"
#include "roofline/base/errors.h"

namespace roofline {
namespace {

TEST(CompareLogits, OfTheSamePredictionsIsNothing) {
  const std::array<float, 3> logits = {1, 2, 3};
  const auto place = compare_logits(logits, logits, 2);
  EXPECT_EQ(place.kl, 0.0);
  EXPECT_TRUE(place.same_top);
  EXPECT_EQ(place.nats, place.reference_nats);
}

TEST(CompareLogits, GivesTheDivergenceByHand) {
  // p = (1/2, 1/2), q = (3/4, 1/4).
  const std::array<float, 2> p = {0, 0};
  const std::array<float, 2> q = {std::log(3.0f), 0};
  const auto place = compare_logits(p, q, 1);
  EXPECT_NEAR(place.kl, 0.5 * std::log(2.0 / 3) + 0.5 * std::log(2.0), 1e-6);
  EXPECT_NEAR(place.reference_nats, std::log(2.0), 1e-6);
  EXPECT_NEAR(place.nats, std::log(4.0), 1e-6);
}

TEST(CompareLogits, ShiftsOfAllLogitsChangeNothing) {
  const std::array<float, 3> p = {1, 2, 3};
  const std::array<float, 3> q = {1001, 1002, 1003};
  EXPECT_NEAR(compare_logits(p, q, 0).kl, 0, 1e-9);
}

TEST(PlaceTally, PiecesOfTheVocabularyGiveWhatTheWholeGives) {
  std::vector<float> p, q;
  for (int i = 0; i < 1000; ++i) {
    p.push_back(7 * std::sin(0.7f * static_cast<float>(i * i % 997)));
    q.push_back(p.back() + 2 * std::cos(static_cast<float>(i)));
  }
  q[998] = 40;  // the candidate's likeliest comes late
  for (const int next : {0, 332, 333, 999}) {
    const auto whole = compare_logits(p, q, next);
    for (const std::size_t piece : {1, 333, 999, 1000}) {
      PlaceTally tally(next);
      for (std::size_t at = 0; at < p.size(); at += piece) {
        const std::size_t count = std::min(piece, p.size() - at);
        tally.add(
            std::span(p).subspan(at, count),
            std::span(q).subspan(at, count));
      }
      const auto found = tally.quality();
      EXPECT_NEAR(found.kl, whole.kl, 1e-5 * whole.kl) << piece;
      EXPECT_NEAR(found.nats, whole.nats, 1e-5 * whole.nats) << piece;
      EXPECT_NEAR(found.reference_nats, whole.reference_nats, 1e-4) << piece;
      EXPECT_EQ(found.same_top, whole.same_top) << piece;
    }
  }
}

TEST(PlaceTally, TheLikeliestTokenMayBeInAnyPiece) {
  const std::array<float, 4> p = {1, 5, 2, 4};
  const std::array<float, 4> q = {1, 3, 2, 2.5f};
  PlaceTally tally(0);
  tally.add(std::span(p).first(2), std::span(q).first(2));
  tally.add(std::span(p).last(2), std::span(q).last(2));
  EXPECT_TRUE(tally.quality().same_top);
  const std::array<float, 4> other = {1, 3, 2, 3.5f};
  PlaceTally differs(0);
  differs.add(std::span(p).first(2), std::span(other).first(2));
  differs.add(std::span(p).last(2), std::span(other).last(2));
  EXPECT_FALSE(differs.quality().same_top);
}

TEST(Summarize, GivesMeansAndPerplexity) {
  const std::array<PlaceQuality, 2> places = {
      PlaceQuality{0.1, true, std::log(2.0), std::log(4.0)},
      PlaceQuality{0.3, false, std::log(8.0), std::log(4.0)}};
  const auto report = summarize(places);
  EXPECT_NEAR(report.mean_kl, 0.2, 1e-9);
  EXPECT_NEAR(report.top1_agreement, 0.5, 1e-9);
  EXPECT_NEAR(report.reference_perplexity, 4, 1e-9);
  EXPECT_NEAR(report.perplexity, 4, 1e-9);
  EXPECT_NEAR(report.score(), std::exp(-0.2), 1e-9);
  EXPECT_EQ(report.tokens, 2);
}

TEST(MeasureQuality, LooksAtEveryPlaceInWindows) {
  fakes::ScriptedDecoder one([](std::int64_t) { return 'a'; });
  fakes::ScriptedDecoder other([](std::int64_t) { return 'b'; });
  const auto tokens = fakes::ids_of("aaaaaaaaaaaaaaaaaaaaa");
  QualityOptions options;
  options.windows.context_tokens = 8;
  options.windows.stride_tokens = 8;
  const auto same = measure_quality(one, one, tokens, options);
  EXPECT_EQ(same.tokens, 18) << "the first token of a window has no context";
  EXPECT_EQ(same.mean_kl, 0.0);
  const auto differs = measure_quality(one, other, tokens, options);
  EXPECT_GT(differs.mean_kl, 1.0);
  EXPECT_EQ(differs.top1_agreement, 0.0);
  EXPECT_GT(differs.perplexity, differs.reference_perplexity);
  EXPECT_THROW(measure_quality(one, one, std::span(tokens).first(1)), BugError);
}

TEST(MeasureQuality, OverlappingWindowsCountEachTokenOnce) {
  fakes::ScriptedDecoder one([](std::int64_t) { return 'a'; });
  const auto tokens = fakes::ids_of("aaaaaaaaaaaaaaaaaaaaa");
  QualityOptions options;
  options.windows.context_tokens = 8;
  options.windows.stride_tokens = 3;
  EXPECT_EQ(measure_quality(one, one, tokens, options).tokens, 20);
}

TEST(MeasureQuality, StopsWhenAsked) {
  fakes::ScriptedDecoder one([](std::int64_t) { return 'a'; });
  const auto tokens = fakes::ids_of("aaaaaaaaaaaaaaaaaaaaa");
  QualityOptions options;
  options.windows.context_tokens = 5;
  options.windows.stride_tokens = 5;
  int calls = 0;
  options.stop = [&] { return ++calls > 2; };
  EXPECT_EQ(measure_quality(one, one, tokens, options).tokens, 8);
}

TEST(EstimateOf, GivesTheMeanAndItsStandardError) {
  const std::array<double, 4> values = {1, 2, 3, 4};
  const Estimate estimate = estimate_of(values);
  EXPECT_NEAR(estimate.mean, 2.5, 1e-12);
  // Variance 5/4 over the values; its root over the root of n - 1.
  EXPECT_NEAR(estimate.standard_error, std::sqrt(1.25 / 3), 1e-12);
}

TEST(CompareLogits, ResolvesSmallDivergences) {
  std::vector<float> p(50000), q(50000);
  for (std::size_t i = 0; i < p.size(); ++i) {
    p[i] = 0.0001f * static_cast<float>((i * 7919) % 100000);
    q[i] = p[i] + 0.002f * static_cast<float>(i % 2);
  }
  // Half of the mass moves by d = 0.002: KL = log((1 + e^d) / 2) - d / 2.
  const double d = 0.002;
  EXPECT_NEAR(
      compare_logits(p, q, 0).kl,
      std::log((1 + std::exp(d)) / 2) - d / 2,
      2e-7);
}

}  // namespace
}  // namespace roofline
