#include <algorithm>
#include <cmath>

#include "roofline/report/chart.h"
#include "roofline/report/table.h"
#include "roofline/report/utf8_cells.h"

namespace roofline {
namespace {

constexpr int kBarGap = 2;
/// Shorter bars show no difference; the line rather gets longer.
constexpr int kShortestBar = 8;

/// A bar of eighths of a column.
std::string blocks(double columns) {
  static constexpr const char* kEighths[] =
      {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  const int eighths = static_cast<int>(std::lround(columns * 8));
  std::string out;
  for (int i = 0; i < eighths / 8; ++i) {
    out += "█";
  }
  return out + kEighths[eighths % 8];
}

double length_of(const Bar& bar) {
  return std::isfinite(bar.value) ? std::max(0.0, bar.value) : 0.0;
}

}  // namespace

std::string bars_text(std::span<const Bar> bars, int width) {
  int name_columns = 0;
  int text_columns = 0;
  double longest = 0;
  for (const Bar& bar : bars) {
    name_columns = std::max(name_columns, display_width(bar.name));
    text_columns = std::max(text_columns, display_width(bar.text));
    longest = std::max(longest, length_of(bar));
  }
  const int space = width - text_columns - 2 * kBarGap - kShortestBar;
  name_columns = std::min(name_columns, std::max(space, kShortestBar));
  const int room =
      std::max(kShortestBar, width - name_columns - text_columns - 2 * kBarGap);
  std::string out;
  for (const Bar& bar : bars) {
    const std::string_view name = first_columns(bar.name, name_columns);
    const double share = longest > 0 ? length_of(bar) / longest : 0;
    const std::string drawn = blocks(share * room);
    out += name;
    out.append(name_columns - display_width(name) + kBarGap, ' ');
    out += drawn;
    // Values stand in a column of their own, aligned right.
    out.append(room - display_width(drawn) + kBarGap, ' ');
    out.append(text_columns - display_width(bar.text), ' ');
    out += bar.text;
    out.erase(out.find_last_not_of(' ') + 1);
    out += "\n";
  }
  return out;
}

}  // namespace roofline
