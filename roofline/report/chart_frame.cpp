#include "roofline/report/chart_frame.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "roofline/report/table.h"

namespace roofline {
namespace {

constexpr std::size_t kColours = 8;
constexpr double kSide = 16;        // free space left and right
constexpr double kTickLength = 5;   // pixels
constexpr double kLegendRow = 20;   // height of a row of the legend
constexpr double kPixelsPerX = 90;  // between ticks, so labels don't touch
constexpr double kPixelsPerY = 55;
constexpr double kFarRule = 4;  // see include_rules

struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();

  void include(double value) {
    if (std::isfinite(value)) {
      low = std::min(low, value);
      high = std::max(high, value);
    }
  }
  bool empty() const { return low > high; }
};

/// A limit far above all data would press them flat; it is then drawn at the
/// upper edge instead.
void include_rules(const Chart& chart, Range& y) {
  const double far = y.empty() ? std::numeric_limits<double>::infinity()
                               : kFarRule * std::max(y.high, 0.0);
  for (const ChartRule& rule : chart.rules) {
    if (rule.y <= far) {
      y.include(rule.y);
    }
  }
}

Range y_range(const Chart& chart) {
  Range y;
  if (chart.kind == ChartKind::stacked) {
    for (const auto& tops : stack_of(chart).tops) {
      std::for_each(tops.begin(), tops.end(), [&](double v) { y.include(v); });
    }
  }
  for (const ChartSeries& series : chart.series) {
    for (const ChartPoint& point : drawn_points(chart, series)) {
      y.include(point.y);
      y.include(point.low.value_or(point.y));
      y.include(point.high.value_or(point.y));
    }
  }
  include_rules(chart, y);
  const bool from_zero =
      chart.kind == ChartKind::stacked || chart.kind == ChartKind::bars;
  // Lines that nearly reach 0 show more when they stand on it.
  if (y.empty() || from_zero || (y.low > 0 && y.low < 0.5 * y.high)) {
    y.include(0);
  }
  if (y.low == y.high) {
    y.include(y.low == 0 ? 1 : 0);
  }
  return y;
}

Range x_range(const Chart& chart, std::vector<double>& all) {
  Range x;
  for (const ChartSeries& series : chart.series) {
    for (const ChartPoint& point : drawn_points(chart, series)) {
      all.push_back(point.x);
      x.include(point.x);
    }
  }
  if (chart.kind == ChartKind::bars) {
    const double last = static_cast<double>(chart.x_labels.size()) - 1;
    x.include(0);
    x.include(std::max(last, 0.0));
    return {x.low - 0.5, x.high + 0.5};
  }
  if (x.empty()) {
    return {1, 10};
  }
  if (x.low == x.high) {
    return chart.x_log ? Range{x.low / 2, x.high * 2}
                       : Range{x.low - 1, x.high + 1};
  }
  if (chart.kind == ChartKind::points) {
    const double margin = 0.06;
    const double ratio = std::pow(x.high / x.low, margin);
    const double part = margin * (x.high - x.low);
    return chart.x_log ? Range{x.low / ratio, x.high * ratio}
                       : Range{x.low - part, x.high + part};
  }
  return x;
}

bool has_legend(const Chart& chart) {
  return chart.series.size() > 1;
}

/// Draws the legend row by row; returns the y below it.
double draw_legend(const Chart& chart, double top, int width, Svg& svg) {
  if (!has_legend(chart)) {
    return top;
  }
  double x = kSide;
  double y = top + kLegendRow - 6;
  for (std::size_t i = 0; i < chart.series.size(); ++i) {
    const double size = 18 + text_pixels(chart.series[i].name) + 14;
    if (x + size > width - kSide && x > kSide) {
      x = kSide;
      y += kLegendRow;
    }
    if (chart.kind == ChartKind::lines) {
      svg.line({x, y - 4}, {x + 14, y - 4}, "line " + stroke_of(i));
    } else {
      svg.rect({x, y - 10}, {12, 12}, fill_of(i));
    }
    svg.text({x + 18, y}, chart.series[i].name, Anchor::start, "");
    x += size;
  }
  return y + 6;
}

std::vector<Tick> ticks_of_x(
    const Chart& chart,
    const Range& x,
    const std::vector<double>& all,
    double pixels) {
  const int wanted = std::max(2, static_cast<int>(pixels / kPixelsPerX));
  if (!chart.x_labels.empty()) {
    std::vector<Tick> ticks;
    const std::size_t step =
        chart.kind == ChartKind::bars
            ? 1
            : (chart.x_labels.size() + 2 * wanted - 1) / (2 * wanted);
    for (std::size_t i = 0; i < chart.x_labels.size(); i += step) {
      ticks.push_back({static_cast<double>(i), chart.x_labels[i]});
    }
    return ticks;
  }
  if (chart.x_log) {
    const bool binary = all_powers_of_two(all);
    const auto values =
        log_values(x.low, x.high, all, binary ? 2 * wanted : wanted);
    return label_values(values, binary);
  }
  std::vector<double> values;
  for (double value : nice_values(x.low, x.high, wanted)) {
    const double slack = 1e-9 * (x.high - x.low);
    if (value >= x.low - slack && value <= x.high + slack) {
      values.push_back(value);
    }
  }
  return label_values(values);
}

/// Whether the labels need to lean to stay apart.
bool must_lean(const std::vector<Tick>& ticks, double pixels) {
  double widest = 0;
  for (const Tick& tick : ticks) {
    widest = std::max(widest, text_pixels(tick.label));
  }
  return !ticks.empty() && widest + 8 > pixels / ticks.size();
}

double label_height(const std::vector<Tick>& ticks, bool lean, double most) {
  double height = 14;
  for (const Tick& tick : ticks) {
    const double leaning = 0.58 * text_pixels(tick.label) + 12;
    height = lean ? std::max(height, leaning) : height;
  }
  return std::min(height, most);
}

void draw_x_axis(
    const Chart& chart,
    const ChartFrame& frame,
    const std::vector<Tick>& ticks,
    bool lean,
    Svg& svg) {
  const bool bars = chart.kind == ChartKind::bars;
  for (const Tick& tick : ticks) {
    const double x = frame.x.at(tick.value);
    if (x < frame.left - 0.5 || x > frame.right + 0.5) {
      continue;
    }
    if (!bars) {
      svg.line({x, frame.top}, {x, frame.bottom}, "grid");
      svg.line({x, frame.bottom}, {x, frame.bottom + kTickLength}, "axis");
    }
    const SvgPoint at{x, frame.bottom + 18};
    svg.text(
        at,
        tick.label,
        lean ? Anchor::end : Anchor::middle,
        "dim",
        lean ? -35 : 0);
  }
  svg.line({frame.left, frame.bottom}, {frame.right, frame.bottom}, "axis");
}

void draw_y_axis(
    const ChartFrame& frame,
    const std::vector<Tick>& ticks,
    Svg& svg) {
  for (const Tick& tick : ticks) {
    const double y = frame.y.at(tick.value);
    svg.line(
        {frame.left, y},
        {frame.right, y},
        tick.value == 0 ? "axis" : "grid");
    svg.text({frame.left - 8, y + 4}, tick.label, Anchor::end, "dim");
  }
}

void draw_titles(
    const Chart& chart,
    const ChartFrame& frame,
    int height,
    Svg& svg) {
  const double middle_x = (frame.left + frame.right) / 2;
  const double middle_y = (frame.top + frame.bottom) / 2;
  svg.text({middle_x, height - 10.0}, chart.x_title, Anchor::middle, "");
  svg.text({18, middle_y}, chart.y_title, Anchor::middle, "", -90);
}

double widest_label(const std::vector<Tick>& ticks) {
  double widest = 0;
  for (const Tick& tick : ticks) {
    widest = std::max(widest, text_pixels(tick.label));
  }
  return widest;
}

}  // namespace

std::string fill_of(std::size_t i) {
  return fmt::format("f{}", i % kColours);
}

std::string stroke_of(std::size_t i) {
  // Where colours come again, the dashes differ.
  const std::size_t round = i / kColours % 3;
  return round == 0 ? fmt::format("s{}", i % kColours)
                    : fmt::format("s{} d{}", i % kColours, round);
}

ChartFrame draw_frame(const Chart& chart, int width, int height, Svg& svg) {
  svg.rect({0, 0}, {1.0 * width, 1.0 * height}, "back");
  svg.text({kSide, 26}, chart.title, Anchor::start, "title");
  ChartFrame frame;
  frame.top = draw_legend(chart, chart.title.empty() ? 8 : 36, width, svg) + 12;
  const Range y = y_range(chart);
  const double about = height - frame.top - 60;
  const int wanted = std::max(2, static_cast<int>(about / kPixelsPerY));
  const std::vector<double> values = nice_values(y.low, y.high, wanted);
  const std::vector<Tick> y_ticks = label_values(values);
  frame.left = 20 + (chart.y_title.empty() ? 0 : 18) + widest_label(y_ticks);
  frame.right = width - kSide - 8;
  std::vector<double> all;
  const Range x = x_range(chart, all);
  const double pixels = frame.right - frame.left;
  const std::vector<Tick> x_ticks = ticks_of_x(chart, x, all, pixels);
  const bool lean = must_lean(x_ticks, pixels);
  frame.bottom = height - (chart.x_title.empty() ? 14 : 34) -
                 label_height(x_ticks, lean, height / 3.0);
  frame.bottom = std::max(frame.bottom, frame.top + 20);
  frame.x = {x.low, x.high, frame.left, frame.right, chart.x_log && x.low > 0};
  frame.y = {values.front(), values.back(), frame.bottom, frame.top};
  draw_y_axis(frame, y_ticks, svg);
  draw_x_axis(chart, frame, x_ticks, lean, svg);
  draw_titles(chart, frame, height, svg);
  return frame;
}

}  // namespace roofline
