#include <cstdint>

#include "roofline/base/errors.h"
#include "roofline/report/chart.h"
#include "roofline_bridge.h"

namespace roofline {
namespace {

/// Pixels for each unit of the SVG: text stays sharp on today's screens.
constexpr float kScale = 2;

struct Bytes {
  rb_buffer buffer{nullptr, 0};

  Bytes() = default;
  ~Bytes() { rb_buffer_free(buffer); }
  Bytes(const Bytes&) = delete;
  Bytes& operator=(const Bytes&) = delete;

  std::string text() const { return {buffer.data, buffer.size}; }
};

}  // namespace

std::string chart_png(const Chart& chart, int width, int height) {
  const std::string svg = chart_svg(chart, width, height);
  Bytes png, error;
  const std::int32_t status = rb_png_from_svg(
      {svg.data(), svg.size()},
      kScale,
      &png.buffer,
      &error.buffer);
  if (status == RB_BROKEN) {
    fail<UnsupportedError>(
        "can't draw the chart as PNG",
        error.text(),
        "Ask for a smaller picture, or write an .svg file instead");
  }
  if (status != RB_OK) {
    fail<BugError>(
        "can't draw the chart as PNG",
        error.text(),
        "Write an .svg file instead, and report this");
  }
  return png.text();
}

}  // namespace roofline
