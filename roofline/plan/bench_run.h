// Measures one case after another on a decoder in this process. Synthetic ids,
// no tokenizer; the next tokens are the likeliest, or drawn as they would be.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "roofline/decode/sampling.h"
#include "roofline/model/decoder.h"
#include "roofline/plan/bench.h"

namespace roofline {

class BenchRun {
 public:
  /// The decoder must outlive it. sampling: absent takes the likeliest.
  BenchRun(
      Decoder& decoder,
      int prefill_step,
      const std::optional<SamplingOptions>& sampling = std::nullopt);
  ~BenchRun();

  /// Fills caches up to the case's depth, which isn't measured (and is kept for
  /// the next run of the same depth and batch), then runs the case.
  BenchSample measure(const BenchCase& what);

  /// Whether decode steps ask for all logits.
  bool all_logits() const;

 private:
  using Caches = std::vector<std::unique_ptr<KvCache>>;

  /// Brings caches_ to `depth` tokens.
  void prepare(const BenchCase& what);
  void prefill(int tokens);
  double decode(int tokens);
  void decode_on_device(int tokens);
  DecidingLogits deciding(std::size_t row) const;
  /// One id for each sequence.
  std::vector<std::int32_t> next_of(const mx::array& logits);

  Decoder& decoder_;
  int prefill_step_;
  Caches caches_;
  std::vector<std::int32_t> next_;  ///< a sequence's next token
  std::optional<SamplingOptions> sampling_;
  /// Of each sequence, from the last case's begin.
  std::vector<Sampler> samplers_;
  std::vector<std::vector<std::int32_t>> drawn_;
};

/// Joules that the processor's packages have used, as Linux's powercap counts
/// them; absent where the system doesn't tell. The count wraps around.
std::optional<double> package_joules();
/// What was used between two readings.
std::optional<double> joules_between(
    const std::optional<double>& before,
    const std::optional<double>& after);

}  // namespace roofline
