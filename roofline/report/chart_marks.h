// What stands inside a chart's frame: lines, areas, bars, points, rules.
#pragma once

#include "roofline/report/chart_frame.h"

namespace roofline {

void draw_lines(const Chart& chart, const ChartFrame& frame, Svg& svg);
void draw_stacked(const Chart& chart, const ChartFrame& frame, Svg& svg);
void draw_bars(const Chart& chart, const ChartFrame& frame, Svg& svg);
void draw_points(const Chart& chart, const ChartFrame& frame, Svg& svg);
void draw_rules(const Chart& chart, const ChartFrame& frame, Svg& svg);

}  // namespace roofline
