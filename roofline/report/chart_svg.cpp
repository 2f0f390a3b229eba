#include <algorithm>

#include "roofline/report/chart_marks.h"

namespace roofline {

std::string chart_svg(const Chart& chart, int width, int height) {
  // Below this the titles alone would fill the picture.
  width = std::max(width, 200);
  height = std::max(height, 150);
  Svg svg(width, height, chart.title);
  const ChartFrame frame = draw_frame(chart, width, height, svg);
  switch (chart.kind) {
    case ChartKind::lines:
      draw_lines(chart, frame, svg);
      break;
    case ChartKind::stacked:
      draw_stacked(chart, frame, svg);
      break;
    case ChartKind::bars:
      draw_bars(chart, frame, svg);
      break;
    case ChartKind::points:
      draw_points(chart, frame, svg);
      break;
  }
  draw_rules(chart, frame, svg);
  return svg.finish();
}

}  // namespace roofline
