// What the time from the start of the process to the first token is made of:
// parts one after another, each until the next begins, so that they add up to
// the whole.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "roofline/base/clock.h"
#include "roofline/decode/generate.h"

namespace roofline::cli {

/// Seconds since the process started, its libraries' loading included.
double process_seconds();

class StartupTrace {
 public:
  struct Part {
    std::string name;
    double seconds = 0;
    /// Done by another thread meanwhile: not a part of the whole.
    bool beside = false;
  };

  /// Opens with the part that was over when main() began.
  StartupTrace();

  /// Books the time since the last part's end.
  void lap(std::string name);
  /// Work of another thread that this one may have had to wait for.
  void beside(std::string name, double seconds);
  /// The parts of the answer's first token. Call it when the answer is there.
  void finish(const GenerateStats& stats);

  const std::vector<Part>& parts() const { return parts_; }
  /// Seconds to the first token; 0 when there was none.
  double total() const { return total_; }

  /// A table for people, and its total.
  std::string text() const;
  /// {"seconds", "parts": [{"part", "seconds", "beside"}, …]}
  nlohmann::ordered_json json() const;

 private:
  std::vector<Part> parts_;
  Clock::time_point last_;
  double total_ = 0;
};

}  // namespace roofline::cli
