#include "roofline/base/errors.h"
#include "roofline/report/chart.h"

namespace roofline {

std::string chart_png(const Chart&, int, int) {
  fail<UnsupportedError>(
      "can't draw a PNG",
      "this build has no renderer for it",
      "Write an .svg or .html file instead");
}

}  // namespace roofline
