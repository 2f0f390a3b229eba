// Points with their labels beside them, placed so that they don't overlap.
#include <algorithm>
#include <string>
#include <vector>

#include "roofline/report/chart_marks.h"

namespace roofline {
namespace {

constexpr double kRadius = 5;
constexpr double kFont = 11;

struct Box {
  double left = 0;
  double top = 0;
  double right = 0;
  double bottom = 0;

  bool meets(const Box& other) const {
    return left < other.right && other.left < right && top < other.bottom &&
           other.top < bottom;
  }
  bool inside(const ChartFrame& frame) const {
    return left >= frame.left && right <= frame.right && top >= frame.top - 8 &&
           bottom <= frame.bottom;
  }
};

struct Label {
  Box box;
  SvgPoint at;
};

/// The places for a label, the best first: right, left, above, below, then
/// the same further up and down.
std::vector<Label> places(SvgPoint dot, double size) {
  std::vector<Label> out;
  for (double shift : {0.0, -14.0, 14.0, -28.0, 28.0}) {
    for (double x : {dot.x + 9, dot.x - 9 - size, dot.x - size / 2}) {
      const bool centred = x == dot.x - size / 2;
      if (centred && shift == 0) {
        continue;
      }
      const double y = dot.y + 4 + shift;
      out.push_back({{x, y - kFont, x + size, y + 3}, {x, y}});
    }
  }
  return out;
}

class Labels {
 public:
  explicit Labels(const ChartFrame& frame) : frame_(frame) {}

  void keep_free(SvgPoint dot) {
    taken_.push_back(
        {dot.x - kRadius, dot.y - kRadius, dot.x + kRadius, dot.y + kRadius});
  }

  /// Where no place is free, the dot keeps its tooltip alone.
  void draw(SvgPoint dot, const std::string& text, Svg& svg) {
    const std::vector<Label> all = places(dot, text_pixels(text, kFont));
    const auto free =
        std::find_if(all.begin(), all.end(), [&](const Label& label) {
          return label.box.inside(frame_) &&
                 std::none_of(
                     taken_.begin(),
                     taken_.end(),
                     [&](const Box& box) { return box.meets(label.box); });
        });
    if (text.empty() || free == all.end()) {
      return;
    }
    taken_.push_back(free->box);
    svg.text(free->at, text, Anchor::start, "small");
  }

 private:
  const ChartFrame& frame_;
  std::vector<Box> taken_;
};

std::string tip_of(
    const Chart& chart,
    const ChartSeries& series,
    const ChartPoint& point) {
  std::string out = point.label.empty() ? series.name : point.label;
  out += "\n" + chart.x_title + ": " + short_number(point.x);
  return out + "\n" + chart.y_title + ": " + short_number(point.y);
}

}  // namespace

void draw_points(const Chart& chart, const ChartFrame& frame, Svg& svg) {
  Labels labels(frame);
  auto place = [&](const ChartPoint& point) {
    return SvgPoint{frame.x.at(point.x), frame.y.at(point.y)};
  };
  for (std::size_t s = 0; s < chart.series.size(); ++s) {
    std::vector<SvgPoint> path;
    for (const ChartPoint& point : drawn_points(chart, chart.series[s])) {
      path.push_back(place(point));
      labels.keep_free(path.back());
    }
    if (chart.series[s].connected) {
      svg.path(path, false, "line " + stroke_of(s));
    }
  }
  for (std::size_t s = 0; s < chart.series.size(); ++s) {
    for (const ChartPoint& point : drawn_points(chart, chart.series[s])) {
      const SvgPoint at = place(point);
      for (auto end : {point.low, point.high}) {
        if (end) {
          svg.line(at, {at.x, frame.y.at(*end)}, "error");
        }
      }
      svg.circle(
          at,
          kRadius,
          "dot " + fill_of(s),
          tip_of(chart, chart.series[s], point));
      labels.draw(at, point.label, svg);
    }
  }
}

}  // namespace roofline
