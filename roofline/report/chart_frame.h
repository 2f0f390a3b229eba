// The frame of a chart: title, legend, axes, grid, and the scales of the plot
// inside it. What the series look like is chart_marks.h's.
#pragma once

#include <string>
#include <vector>

#include "roofline/report/axis.h"
#include "roofline/report/chart.h"
#include "roofline/report/svg.h"

namespace roofline {

struct ChartFrame {
  Scale x;
  Scale y;
  double left = 0;
  double right = 0;
  double top = 0;
  double bottom = 0;
};

bool usable(const ChartPoint& point);
/// The series' points that can be drawn: finite, and above 0 where x is
/// logarithmic; by x for what is drawn as a line.
std::vector<ChartPoint> drawn_points(
    const Chart& chart,
    const ChartSeries& series);

/// Stacked series on their common x: tops[s][i] is the sum of series 0 … s at
/// xs[i]. Between its points a series runs straight; outside them it is 0.
struct Stack {
  std::vector<double> xs;
  std::vector<std::vector<double>> tops;
};
Stack stack_of(const Chart& chart);

/// Draws all but the series and the rules.
ChartFrame draw_frame(const Chart& chart, int width, int height, Svg& svg);

/// "line", "area" … with the colour of series `i`: "f3", "s3", "f3 s3".
std::string fill_of(std::size_t i);
std::string stroke_of(std::size_t i);

}  // namespace roofline
