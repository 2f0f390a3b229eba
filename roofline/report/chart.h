// Charts as values, and their pictures: SVG, PNG, one-file HTML, and bars for a
// terminal. Knows nothing of models; the caller brings series, titles, units.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "roofline/report/table.h"

namespace roofline {

enum class ChartKind {
  lines,
  stacked,  ///< areas on top of each other, one a series
  bars,     ///< grouped; x are positions 0, 1, … named by x_labels
  points,   ///< scatter, with a label beside each point
};

struct ChartPoint {
  double x = 0;
  double y = 0;
  std::string label;          ///< shown for points; a tooltip otherwise
  std::optional<double> low;  ///< error bar
  std::optional<double> high;
};

struct ChartSeries {
  std::string name;
  std::vector<ChartPoint> points;
  /// Draws `points` kind with a line through them (a Pareto front).
  bool connected = false;
};

struct ChartRule {
  double y = 0;
  std::string label;
};

struct Chart {
  ChartKind kind = ChartKind::lines;
  std::string title;
  std::string x_title;
  std::string y_title;
  bool x_log = false;
  std::vector<std::string> x_labels;
  std::vector<ChartSeries> series;
  std::vector<ChartRule> rules;  ///< horizontal lines, e.g. a memory limit
};

/// A standalone SVG document, width × height in pixels.
std::string chart_svg(const Chart& chart, int width = 900, int height = 520);
/// The same picture as PNG bytes, two pixels for each of the SVG's. Throws
/// UnsupportedError when a picture of this size cannot be held.
std::string chart_png(const Chart& chart, int width = 900, int height = 520);

/// One HTML file without outside references: sections of a heading, text,
/// tables (table.h) and charts, light and dark.
struct HtmlSection {
  std::string heading;
  std::string body_html;  ///< already HTML; see html_escape, html_table
};
std::string html_page(
    const std::string& title,
    std::span<const HtmlSection> sections);
std::string html_escape(std::string_view text);
/// The table as an HTML element; cells are escaped.
std::string html_table(const Table& table);

/// Throws UserError where the extension says no format, before there is
/// anything to draw.
void require_chart_file(const std::filesystem::path& path);

/// Writes .svg, .png or .html (a page with this chart) by the file's extension,
/// whole or not at all. Throws UserError for another extension.
void write_chart(const Chart& chart, const std::filesystem::path& path);

/// One bar a row: name, blocks in proportion, value text. `width` columns wide.
struct Bar {
  std::string name;
  double value = 0;
  std::string text;
};
std::string bars_text(std::span<const Bar> bars, int width = 72);

}  // namespace roofline
