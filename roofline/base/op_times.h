// Where a fused step's time goes, by kind of operation. Off unless somebody
// collects: then the thread that runs the step takes the clock after each
// operation; otherwise it looks at one null pointer.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "roofline/base/clock.h"

namespace roofline {

enum class StepOp {
  embed,
  norm,
  qkv,
  rope,
  attention,
  out,
  gate_up,
  down,
  head
};
constexpr std::array<std::string_view, 9> kStepOpNames = {
    "embedding",
    "norms and sums",
    "qkv product",
    "rope, keys and values",
    "attention",
    "output product",
    "gate and up products",
    "down product",
    "head product"};

class OpTimes {
 public:
  struct Total {
    double seconds = 0;
    std::uint64_t bytes = 0;  ///< of weights; 0 where there are none
  };
  using Totals = std::array<Total, kStepOpNames.size()>;
  /// One operation of one layer.
  struct Lap {
    StepOp op;
    Clock::time_point begin, end;
  };

  void begin() { last_ = Clock::now(); }
  /// Books the time since begin() or the last lap.
  void lap(StepOp op, std::uint64_t bytes) {
    const Clock::time_point now = Clock::now();
    Total& total = totals_[static_cast<std::size_t>(op)];
    total.seconds += seconds_between(last_, now);
    total.bytes += bytes;
    if (laps_.size() < laps_.capacity()) {
      laps_.push_back({op, last_, now});
    }
    last_ = now;
  }
  /// Keeps the first `most` laps too, with their times. None without this call.
  void keep_laps(std::size_t most) { laps_.reserve(most); }
  const std::vector<Lap>& laps() const { return laps_; }
  const Totals& totals() const { return totals_; }
  /// Forgets the totals; the laps stay.
  void clear() { totals_ = {}; }

  /// Steps that begin from now on are booked here; null ends it. Between steps
  /// only; one step at a time.
  static void collect(OpTimes* times) { active_.store(times); }
  static OpTimes* active() { return active_.load(std::memory_order_acquire); }

 private:
  Totals totals_{};
  std::vector<Lap> laps_;
  Clock::time_point last_;
  inline static std::atomic<OpTimes*> active_{nullptr};
};

}  // namespace roofline
