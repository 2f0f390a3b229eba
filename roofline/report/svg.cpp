#include "roofline/report/svg.h"

#include <fmt/format.h>

#include "roofline/report/chart.h"
#include "roofline/report/table.h"

namespace roofline {
namespace {

// The palette of Okabe and Ito ("Color Universal Design", 2008), told apart
// with any colour vision; its yellow is darkened to show on white. What is
// drawn over the areas has a thin edge in the background's colour.
constexpr const char* kSvgStyle = R"css(
.rc{font-family:system-ui,-apple-system,"Segoe UI",Helvetica,Arial,sans-serif;font-size:12px}
.rc text{fill:#1c1f24}
.rc .dim{fill:#5b6470}
.rc .title{font-size:16px;font-weight:600}
.rc .small{font-size:11px}
.rc .small,.rc .limit{paint-order:stroke;stroke:#ffffff;stroke-width:3px}
.rc .back{fill:#ffffff}
.rc .grid{stroke:#e3e7eb;stroke-width:1;fill:none}
.rc .axis{stroke:#7d8794;stroke-width:1;fill:none}
.rc .error{stroke:#1c1f24;stroke-width:1.3;fill:none}
.rc .rule{stroke:#b3261e;stroke-width:1.5;stroke-dasharray:7 4;fill:none}
.rc text.limit{fill:#b3261e;font-weight:600}
.rc .hover{fill:#000000;fill-opacity:0}
.rc .hover:hover{fill-opacity:.07}
.rc .line{fill:none;stroke-width:2.2;stroke-linejoin:round;stroke-linecap:round}
.rc .area{stroke-width:1;fill-opacity:.82}
.rc .dot{stroke:#ffffff;stroke-width:1}
.rc .d1{stroke-dasharray:7 4}
.rc .d2{stroke-dasharray:2 4}
.rc .f0{fill:#0072b2}.rc .f1{fill:#e69f00}.rc .f2{fill:#009e73}
.rc .f3{fill:#cc79a7}.rc .f4{fill:#56b4e9}.rc .f5{fill:#d55e00}
.rc .f6{fill:#b5a50f}.rc .f7{fill:#7a7a7a}
.rc .s0{stroke:#0072b2}.rc .s1{stroke:#e69f00}.rc .s2{stroke:#009e73}
.rc .s3{stroke:#cc79a7}.rc .s4{stroke:#56b4e9}.rc .s5{stroke:#d55e00}
.rc .s6{stroke:#b5a50f}.rc .s7{stroke:#7a7a7a}
@media (prefers-color-scheme:dark){
.rc text{fill:#e6e9ed}
.rc .dim{fill:#9aa4b0}
.rc .back{fill:#14171b}
.rc .grid{stroke:#2a3038}
.rc .axis{stroke:#7d8794}
.rc .error{stroke:#e6e9ed}
.rc .rule{stroke:#ff8a80}
.rc text.limit{fill:#ff8a80}
.rc .small,.rc .limit{stroke:#14171b}
.rc .hover{fill:#ffffff;fill-opacity:0}
.rc .dot{stroke:#14171b}
.rc .f0{fill:#3d9ad6}.rc .s0{stroke:#3d9ad6}
.rc .f6{fill:#f0e442}.rc .s6{stroke:#f0e442}
.rc .f7{fill:#a8a8a8}.rc .s7{stroke:#a8a8a8}
}
)css";

std::string_view name_of(Anchor anchor) {
  switch (anchor) {
    case Anchor::middle:
      return "middle";
    case Anchor::end:
      return "end";
    default:
      return "start";
  }
}

}  // namespace

double text_pixels(std::string_view text, double font_pixels) {
  // Digits and small letters of common sans-serif fonts are 0.5 to 0.64 em.
  return 0.6 * font_pixels * display_width(text);
}

Svg::Svg(int width, int height, std::string_view title) {
  const std::string name = html_escape(title);
  out_ = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"rc\" "
      "width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\" role=\"img\">\n"
      "<title>{2}</title>\n<style>{3}</style>\n",
      width,
      height,
      name,
      kSvgStyle);
}

void Svg::close(std::string_view tag, std::string_view tooltip) {
  if (tooltip.empty()) {
    out_ += "/>\n";
    return;
  }
  out_ += "><title>";
  out_ += html_escape(tooltip);
  out_ += "</title></";
  out_ += tag;
  out_ += ">\n";
}

void Svg::rect(
    SvgPoint corner,
    SvgPoint size,
    std::string_view classes,
    std::string_view tooltip) {
  out_ += fmt::format(
      "<rect x=\"{:.2f}\" y=\"{:.2f}\" width=\"{:.2f}\" height=\"{:.2f}\" "
      "class=\"{}\"",
      corner.x,
      corner.y,
      size.x,
      size.y,
      classes);
  close("rect", tooltip);
}

void Svg::line(SvgPoint a, SvgPoint b, std::string_view classes) {
  out_ += fmt::format(
      "<line x1=\"{:.2f}\" y1=\"{:.2f}\" x2=\"{:.2f}\" y2=\"{:.2f}\" "
      "class=\"{}\"/>\n",
      a.x,
      a.y,
      b.x,
      b.y,
      classes);
}

void Svg::circle(
    SvgPoint center,
    double radius,
    std::string_view classes,
    std::string_view tooltip) {
  out_ += fmt::format(
      "<circle cx=\"{:.2f}\" cy=\"{:.2f}\" r=\"{:.2f}\" class=\"{}\"",
      center.x,
      center.y,
      radius,
      classes);
  close("circle", tooltip);
}

void Svg::path(
    const std::vector<SvgPoint>& points,
    bool closed,
    std::string_view classes,
    std::string_view tooltip) {
  if (points.empty()) {
    return;
  }
  out_ += "<path d=\"";
  for (std::size_t i = 0; i < points.size(); ++i) {
    out_ += fmt::format(
        "{}{:.2f} {:.2f}",
        i == 0 ? "M" : "L",
        points[i].x,
        points[i].y);
  }
  out_ += closed ? "Z\"" : "\"";
  out_ += fmt::format(" class=\"{}\"", classes);
  close("path", tooltip);
}

void Svg::text(
    SvgPoint at,
    std::string_view text,
    Anchor anchor,
    std::string_view classes,
    double turn) {
  out_ += fmt::format(
      "<text x=\"{:.2f}\" y=\"{:.2f}\" text-anchor=\"{}\"",
      at.x,
      at.y,
      name_of(anchor));
  if (!classes.empty()) {
    out_ += fmt::format(" class=\"{}\"", classes);
  }
  if (turn != 0) {
    out_ += fmt::format(
        " transform=\"rotate({:g} {:.2f} {:.2f})\"",
        turn,
        at.x,
        at.y);
  }
  out_ += '>';
  out_ += html_escape(text);
  out_ += "</text>\n";
}

std::string Svg::finish() {
  return out_ + "</svg>\n";
}

}  // namespace roofline
