// Measures a decoder: prefill of p tokens and decode of n, in rounds, with
// medians, spread and the share of the roof. Synthetic ids, no tokenizer and no
// sampling but the argmax.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "roofline/model/decoder.h"
#include "roofline/plan/machine.h"
#include "roofline/plan/roof.h"

namespace roofline {

struct BenchOptions {
  int prompt_tokens = 512;  ///< 0: no prefill
  int decode_tokens = 128;  ///< 0: no decode
  int rounds = 5;
  int prefill_chunk = 512;
};

/// Throws UserError naming the option and its range.
void validate(const BenchOptions& options);

/// Tokens a second, one sample a round.
struct BenchSeries {
  std::vector<double> samples;
  double median() const;  ///< 0 without samples
  double smallest() const;
  double largest() const;
};

struct BenchResult {
  BenchOptions options;
  BenchSeries prefill;
  BenchSeries decode;
  /// At the middle of the decoded tokens; decode starts on an empty cache.
  StepBytes step;
  double bandwidth = 0;  ///< bytes a second
  std::size_t peak_bytes = 0;
  std::string device;

  double roof() const;  ///< decode tokens a second
  std::optional<double> share_of_roof() const;
  /// A few lines for people, each ended by a line break.
  std::string text() const;
  nlohmann::ordered_json json() const;
};

/// One warm-up round that isn't counted, then the rounds, prefill and decode in
/// turn. `between` is called before each round and ends the run when it gives
/// true (what was measured is returned).
BenchResult run_bench(
    Decoder& decoder,
    const BenchOptions& options,
    const MachineProfile& profile,
    const std::function<bool()>& between = {});

}  // namespace roofline
