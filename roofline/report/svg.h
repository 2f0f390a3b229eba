// A writer of SVG elements: coordinates rounded, texts escaped. Colours come as
// class names, so that one style sheet serves light and dark.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace roofline {

struct SvgPoint {
  double x = 0;
  double y = 0;
};

enum class Anchor { start, middle, end };

class Svg {
 public:
  Svg(int width, int height, std::string_view title);

  /// tooltip: shown while the mouse rests on the element; empty: none.
  void rect(
      SvgPoint corner,
      SvgPoint size,
      std::string_view classes,
      std::string_view tooltip = {});
  void line(SvgPoint a, SvgPoint b, std::string_view classes);
  void circle(
      SvgPoint center,
      double radius,
      std::string_view classes,
      std::string_view tooltip = {});
  void path(
      const std::vector<SvgPoint>& points,
      bool closed,
      std::string_view classes,
      std::string_view tooltip = {});
  /// turn: degrees around `at`.
  void text(
      SvgPoint at,
      std::string_view text,
      Anchor anchor,
      std::string_view classes,
      double turn = 0);
  /// The whole document.
  std::string finish();

 private:
  void close(std::string_view tag, std::string_view tooltip);

  std::string out_;
};

/// About how wide a text is drawn, in pixels.
double text_pixels(std::string_view text, double font_pixels = 12);

}  // namespace roofline
