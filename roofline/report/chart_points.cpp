#include <algorithm>
#include <cmath>

#include "roofline/report/chart_frame.h"

namespace roofline {
namespace {

/// The series' height at x; 0 outside its points.
double value_at(const std::vector<ChartPoint>& points, double x) {
  const auto above = std::lower_bound(
      points.begin(),
      points.end(),
      x,
      [](const ChartPoint& p, double value) { return p.x < value; });
  if (above == points.end()) {
    return 0;
  }
  if (above->x == x) {
    return above->y;
  }
  if (above == points.begin()) {
    return 0;
  }
  const ChartPoint& below = *(above - 1);
  const double share = (x - below.x) / (above->x - below.x);
  return below.y + share * (above->y - below.y);
}

std::optional<double> finite(std::optional<double> value) {
  return value && std::isfinite(*value) ? value : std::nullopt;
}

}  // namespace

bool usable(const ChartPoint& point) {
  return std::isfinite(point.x) && std::isfinite(point.y);
}

std::vector<ChartPoint> drawn_points(
    const Chart& chart,
    const ChartSeries& series) {
  std::vector<ChartPoint> points;
  for (const ChartPoint& point : series.points) {
    const bool on_axis =
        !chart.x_log || chart.kind == ChartKind::bars || point.x > 0;
    if (usable(point) && on_axis) {
      points.push_back(point);
      points.back().low = finite(point.low);
      points.back().high = finite(point.high);
    }
  }
  if (chart.kind != ChartKind::bars) {
    std::stable_sort(
        points.begin(),
        points.end(),
        [](const auto& a, const auto& b) { return a.x < b.x; });
  }
  return points;
}

Stack stack_of(const Chart& chart) {
  Stack stack;
  std::vector<std::vector<ChartPoint>> all;
  for (const ChartSeries& series : chart.series) {
    all.push_back(drawn_points(chart, series));
    for (const ChartPoint& point : all.back()) {
      stack.xs.push_back(point.x);
    }
  }
  std::sort(stack.xs.begin(), stack.xs.end());
  stack.xs.erase(std::unique(stack.xs.begin(), stack.xs.end()), stack.xs.end());
  std::vector<double> sums(stack.xs.size(), 0.0);
  for (const auto& points : all) {
    for (std::size_t i = 0; i < sums.size(); ++i) {
      sums[i] += value_at(points, stack.xs[i]);
    }
    stack.tops.push_back(sums);
  }
  return stack;
}

}  // namespace roofline
