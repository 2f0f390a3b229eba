#include "roofline/plan/bench_compare.h"

#include <gtest/gtest.h>

#include "roofline/base/errors.h"

namespace roofline {
namespace {

BenchFigure at_speeds(std::vector<double> speeds, int tokens = 100) {
  BenchFigure figure;
  figure.what = {BenchPhase::decode, tokens, 0, 1};
  for (const double speed : speeds) {
    figure.samples.push_back({tokens / speed, 0, std::nullopt});
  }
  return figure;
}

FigureChange compare(
    const BenchFigure& before,
    const BenchFigure& after,
    double tolerance = 0.02) {
  return compare_figures({{before}}, {{after}}, tolerance).at(0);
}

TEST(CompareFigures, CallsAClearLossSlowerAndAClearGainFaster) {
  const auto quick = at_speeds({100, 101, 99, 100, 100});
  const auto slow = at_speeds({80, 81, 79, 80, 80});
  EXPECT_EQ(compare(quick, slow).change, Change::slower);
  EXPECT_EQ(compare(slow, quick).change, Change::faster);
  EXPECT_NEAR(compare(quick, slow).speed.ratio, 0.8, 1e-9);
}

TEST(CompareFigures, NoiseIsNoChange) {
  const auto before = at_speeds({60, 140, 100, 90, 110});
  const auto after = at_speeds({95, 50, 130, 85, 105});
  EXPECT_EQ(compare(before, after).change, Change::same);
}

TEST(CompareFigures, WhatTheToleranceAllowsIsNoChange) {
  const auto before = at_speeds({100, 100, 100});
  const auto after = at_speeds({95, 95, 95});
  EXPECT_EQ(compare(before, after, 0.02).change, Change::slower);
  EXPECT_EQ(compare(before, after, 0.1).change, Change::same);
}

TEST(CompareFigures, ComparesOnlyTheSameCases) {
  const auto a = at_speeds({100}, 64);
  const auto b = at_speeds({100}, 128);
  const auto other = at_speeds({100}, 256);
  const auto changes = compare_figures({{a, b}}, {{other, b}}, 0.02);
  ASSERT_EQ(changes.size(), 1u);
  EXPECT_EQ(changes[0].name, "tg128, roofline");
  EXPECT_THROW(compare_figures({{a}}, {{b}}, 0.02), UserError);
}

TEST(CompareFigures, LeavesOutFiguresWithoutSamples) {
  EXPECT_THROW(
      compare_figures({{at_speeds({})}}, {{at_speeds({1})}}, 0.02),
      UserError);
}

}  // namespace
}  // namespace roofline
