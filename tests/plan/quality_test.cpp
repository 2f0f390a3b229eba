#include "roofline/plan/quality.h"

#include <array>
#include <cmath>

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
  options.window_tokens = 8;
  options.chunk_tokens = 4;
  const auto same = measure_quality(one, one, tokens, options);
  EXPECT_EQ(same.tokens, 20);
  EXPECT_EQ(same.mean_kl, 0.0);
  const auto differs = measure_quality(one, other, tokens, options);
  EXPECT_GT(differs.mean_kl, 1.0);
  EXPECT_EQ(differs.top1_agreement, 0.0);
  EXPECT_GT(differs.perplexity, differs.reference_perplexity);
  EXPECT_THROW(measure_quality(one, one, std::span(tokens).first(1)), BugError);
}

TEST(MeasureQuality, StopsWhenAsked) {
  fakes::ScriptedDecoder one([](std::int64_t) { return 'a'; });
  const auto tokens = fakes::ids_of("aaaaaaaaaaaaaaaaaaaaa");
  QualityOptions options;
  options.chunk_tokens = 4;
  int calls = 0;
  options.stop = [&] { return ++calls > 2; };
  EXPECT_EQ(measure_quality(one, one, tokens, options).tokens, 8);
}

TEST(QualityText, IsSomeThousandCharacters) {
  EXPECT_GT(quality_text().size(), 4000u);
}

}  // namespace
}  // namespace roofline
