// Measures one case after another on a decoder in this process. Synthetic ids,
// no tokenizer, and no sampling but the argmax.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "roofline/model/decoder.h"
#include "roofline/plan/bench.h"

namespace roofline {

class BenchRun {
 public:
  /// The decoder must outlive it.
  BenchRun(Decoder& decoder, int prefill_step);
  ~BenchRun();

  /// Fills caches up to the case's depth, which isn't measured (and is kept for
  /// the next run of the same depth and batch), then runs the case.
  BenchSample measure(const BenchCase& what);

 private:
  using Caches = std::vector<std::unique_ptr<KvCache>>;

  /// Brings caches_ to `depth` tokens.
  void prepare(const BenchCase& what);
  void prefill(int tokens);

  Decoder& decoder_;
  int prefill_step_;
  Caches caches_;
  std::vector<std::int32_t> next_;  ///< a sequence's next token
};

/// Joules that the processor's packages have used, as Linux's powercap counts
/// them; absent where the system doesn't tell. The count wraps around.
std::optional<double> package_joules();
/// What was used between two readings.
std::optional<double> joules_between(
    const std::optional<double>& before,
    const std::optional<double>& after);

}  // namespace roofline
