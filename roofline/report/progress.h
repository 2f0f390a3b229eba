// A line on standard error that says how far something has come, redrawn in
// place on a terminal and silent elsewhere (and for what takes under a second).
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "roofline/base/clock.h"

namespace roofline {

class Progress {
 public:
  using Write = std::function<void(std::string_view)>;
  /// write: where the line goes; empty: nowhere. `title` opens the line.
  Progress(std::string title, Write write);
  /// Wipes the line.
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// share in [0, 1]; detail is shown after the bar ("best so far 170 tok/s").
  void update(double share, std::string_view detail = {});

 private:
  std::string title_;
  Write write_;
  Clock::time_point start_;
  Clock::time_point last_;
  bool shown_ = false;
};

}  // namespace roofline
