#include <fmt/format.h>

#include "roofline/base/atomic_file.h"
#include "roofline/base/errors.h"
#include "roofline/report/chart.h"

namespace roofline {
namespace {

/// The format that a file's extension says.
std::string kind_of(const std::filesystem::path& path) {
  const std::string kind = path.extension().string();
  if (kind != ".svg" && kind != ".png" && kind != ".html") {
    fail<UserError>(
        fmt::format("can't draw a chart into {}", path.string()),
        "the file's extension says the format: .svg, .png or .html",
        "Give the file one of these extensions");
  }
  return kind;
}

std::string file_text(const Chart& chart, const std::filesystem::path& path) {
  const std::string kind = kind_of(path);
  if (kind == ".svg") {
    return chart_svg(chart);
  }
  if (kind == ".png") {
    return chart_png(chart);
  }
  Chart drawn = chart;
  drawn.title.clear();  // The page has it as its heading.
  const HtmlSection section{"", chart_svg(drawn)};
  return html_page(chart.title, std::span(&section, 1));
}

}  // namespace

void require_chart_file(const std::filesystem::path& path) {
  kind_of(path);
}

void write_chart(const Chart& chart, const std::filesystem::path& path) {
  const std::string text = file_text(chart, path);
  write_file_atomically(path, std::as_bytes(std::span(text)));
}

}  // namespace roofline
