#include "roofline/report/chart_marks.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace roofline {
namespace {

/// More points than this on a line get no dot of their own, only a tooltip.
constexpr std::size_t kMostDots = 60;
/// More bars than this get no number above them.
constexpr std::size_t kMostNumbers = 24;

SvgPoint place(const ChartFrame& frame, const ChartPoint& point) {
  return {frame.x.at(point.x), frame.y.at(point.y)};
}

std::string x_text(const Chart& chart, double x) {
  const auto i = static_cast<std::size_t>(std::max(x, 0.0));
  if (i < chart.x_labels.size() && static_cast<double>(i) == x) {
    return chart.x_labels[i];
  }
  return short_number(x);
}

std::string tooltip(
    const Chart& chart,
    const ChartSeries& series,
    const ChartPoint& point) {
  std::string out = series.name;
  if (!point.label.empty()) {
    out += (out.empty() ? "" : ": ") + point.label;
  }
  auto line = [&](const std::string& title, const std::string& value) {
    out +=
        (out.empty() ? "" : "\n") + title + (title.empty() ? "" : ": ") + value;
  };
  line(chart.x_title, x_text(chart, point.x));
  std::string y = short_number(point.y);
  if (point.low || point.high) {
    y += fmt::format(
        " ({} to {})",
        short_number(point.low.value_or(point.y)),
        short_number(point.high.value_or(point.y)));
  }
  line(chart.y_title, y);
  return out;
}

void draw_error(
    const ChartFrame& frame,
    double x,
    const ChartPoint& point,
    Svg& svg) {
  const double low = point.low.value_or(point.y);
  const double high = point.high.value_or(point.y);
  if (!(low < high) || !std::isfinite(low) || !std::isfinite(high)) {
    return;
  }
  const double a = frame.y.at(low);
  const double b = frame.y.at(high);
  svg.line({x, a}, {x, b}, "error");
  svg.line({x - 4, a}, {x + 4, a}, "error");
  svg.line({x - 4, b}, {x + 4, b}, "error");
}

/// Position of each bar of a group and its width.
struct Slots {
  double width = 0;
  double offset = 0;
};

Slots slots_of(const Chart& chart, const ChartFrame& frame) {
  const double group = std::abs(frame.x.at(1) - frame.x.at(0)) * 0.76;
  const double count = std::max<std::size_t>(chart.series.size(), 1);
  // A single bar across the whole picture looks like a mistake.
  const double width = std::min(group / count, 90.0);
  return {width, -width * count / 2};
}

std::size_t count_points(const Chart& chart) {
  std::size_t count = 0;
  for (const ChartSeries& series : chart.series) {
    count += series.points.size();
  }
  return count;
}

}  // namespace

void draw_lines(const Chart& chart, const ChartFrame& frame, Svg& svg) {
  for (std::size_t s = 0; s < chart.series.size(); ++s) {
    const ChartSeries& series = chart.series[s];
    const std::vector<ChartPoint> points = drawn_points(chart, series);
    std::vector<SvgPoint> path;
    for (const ChartPoint& point : points) {
      path.push_back(place(frame, point));
    }
    svg.path(path, false, "line " + stroke_of(s));
    const bool dots = points.size() <= kMostDots;
    for (std::size_t i = 0; i < points.size(); ++i) {
      draw_error(frame, path[i].x, points[i], svg);
      svg.circle(
          path[i],
          dots ? 3.6 : 5,
          dots ? "dot " + fill_of(s) : "hover",
          tooltip(chart, series, points[i]));
    }
  }
}

void draw_stacked(const Chart& chart, const ChartFrame& frame, Svg& svg) {
  const Stack stack = stack_of(chart);
  const std::size_t count = stack.xs.size();
  for (std::size_t s = 0; s < stack.tops.size(); ++s) {
    std::vector<SvgPoint> outline;
    for (std::size_t i = 0; i < count; ++i) {
      outline.push_back(
          {frame.x.at(stack.xs[i]), frame.y.at(stack.tops[s][i])});
    }
    for (std::size_t i = count; i-- > 0;) {
      const double below = s == 0 ? 0 : stack.tops[s - 1][i];
      outline.push_back({frame.x.at(stack.xs[i]), frame.y.at(below)});
    }
    svg.path(
        outline,
        true,
        "area " + fill_of(s) + " " + stroke_of(s),
        chart.series[s].name);
  }
  // One strip for each x, from half-way to half-way, tells all values.
  for (std::size_t i = 0; i < count && count <= 400; ++i) {
    const double x = frame.x.at(stack.xs[i]);
    const double a = i == 0 ? x : (frame.x.at(stack.xs[i - 1]) + x) / 2;
    const double b = i + 1 == count ? x : (frame.x.at(stack.xs[i + 1]) + x) / 2;
    std::string text = chart.x_title + ": " + x_text(chart, stack.xs[i]);
    for (std::size_t s = stack.tops.size(); s-- > 0;) {
      const double below = s == 0 ? 0 : stack.tops[s - 1][i];
      text += "\n" + chart.series[s].name + ": " +
              short_number(stack.tops[s][i] - below);
    }
    text += "\nsum: " + short_number(stack.tops.back()[i]);
    svg.rect({a, frame.top}, {b - a, frame.bottom - frame.top}, "hover", text);
  }
}

void draw_bars(const Chart& chart, const ChartFrame& frame, Svg& svg) {
  const Slots slots = slots_of(chart, frame);
  const bool numbers = count_points(chart) <= kMostNumbers;
  const double zero = frame.y.at(0);
  for (std::size_t s = 0; s < chart.series.size(); ++s) {
    for (const ChartPoint& point : drawn_points(chart, chart.series[s])) {
      const double x = frame.x.at(point.x) + slots.offset +
                       static_cast<double>(s) * slots.width;
      const double y = frame.y.at(point.y);
      svg.rect(
          {x + 1, std::min(y, zero)},
          {std::max(slots.width - 2, 0.5), std::abs(y - zero)},
          fill_of(s),
          tooltip(chart, chart.series[s], point));
      const double middle = x + slots.width / 2;
      draw_error(frame, middle, point, svg);
      const std::string number = short_number(point.y);
      if (numbers && text_pixels(number, 11) < slots.width + 6) {
        const double tip = frame.y.at(point.high.value_or(point.y));
        svg.text(
            {middle, point.y < 0 ? y + 13 : std::min(y, tip) - 4},
            number,
            Anchor::middle,
            "small");
      }
    }
  }
}

void draw_rules(const Chart& chart, const ChartFrame& frame, Svg& svg) {
  for (const ChartRule& rule : chart.rules) {
    if (!std::isfinite(rule.y)) {
      continue;
    }
    const bool above = rule.y > frame.y.high;
    const double y = above ? frame.top : frame.y.at(rule.y);
    if (!above) {
      svg.line({frame.left, y}, {frame.right, y}, "rule");
    }
    const double text_y = y - 5 < frame.top ? y + 14 : y - 5;
    svg.text(
        {frame.left + 8, text_y},
        above ? "↑ " + rule.label : rule.label,
        Anchor::start,
        "limit");
  }
}

}  // namespace roofline
