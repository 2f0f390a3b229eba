#include "roofline/report/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>

#include "roofline/base/clock.h"
#include "roofline/base/terminal.h"
#include "roofline/report/table.h"
#include "roofline/report/utf8_cells.h"

namespace roofline {
namespace {

constexpr std::chrono::milliseconds kPatience{1000};
/// Ten pictures a second look smooth and cost nothing.
constexpr std::chrono::milliseconds kBetween{100};
constexpr int kBarColumns = 24;
/// A longer line would break on a terminal of 80 columns and not be wiped.
constexpr int kLineColumns = 79;
/// Back to the line's start, and clear to its end.
constexpr std::string_view kWipe = "\r\x1b[K";

std::string bar_of(double share) {
  const int full = static_cast<int>(std::lround(share * kBarColumns));
  std::string bar;
  for (int i = 0; i < kBarColumns; ++i) {
    bar += i < full ? "█" : "░";
  }
  return bar;
}

}  // namespace

Progress::Progress(std::string title, Write write)
    : title_(std::move(title)),
      write_(std::move(write)),
      start_(Clock::now()),
      last_(start_) {}

Progress::~Progress() {
  if (!shown_) {
    return;
  }
  try {
    write_(kWipe);
  } catch (...) {  // A lost terminal is no reason to end the program.
  }
}

void Progress::update(double share, std::string_view detail) {
  const Clock::time_point now = Clock::now();
  if (!write_ || now - start_ < kPatience) {
    return;
  }
  if (shown_ && now - last_ < kBetween && share < 1) {
    return;
  }
  share = std::isfinite(share) ? std::clamp(share, 0.0, 1.0) : 0.0;
  std::string line =
      fmt::format("{} {} {:3.0f} %", title_, bar_of(share), 100 * share);
  if (!detail.empty()) {
    line += "  ";
    line += detail.substr(0, detail.find('\n'));
  }
  std::string text(kWipe);
  text += first_columns(
      line,
      std::min(kLineColumns, terminal_columns(STDERR_FILENO).value_or(80) - 1));
  write_(text);
  shown_ = true;
  last_ = now;
}

}  // namespace roofline
