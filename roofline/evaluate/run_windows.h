// Runs a text's windows through one or several models in step and hands out
// the logits at each place that counts, so that none of them is kept.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "roofline/evaluate/windows.h"
#include "roofline/model/decoder.h"

namespace roofline {

/// Logits of successive places, from each model.
struct ScoredRows {
  /// [model]: float32 rows [places, vocab], contiguous.
  std::vector<const float*> logits;
  int vocab = 0;
  /// [places]: the token that really followed.
  std::span<const std::int32_t> next;

  std::span<const float> row(std::size_t model, std::size_t place) const {
    const auto width = static_cast<std::size_t>(vocab);
    return {logits[model] + place * width, width};
  }
};

struct RunWindowsOptions {
  WindowOptions windows;
  /// Looked at between chunks; true ends the run with what there is.
  std::function<bool()> stop;
  /// Share of the text that is done, 0 … 1.
  std::function<void(double)> progress;
};

/// All decoders must have one vocabulary, else UserError. A model given twice
/// runs twice. Calls `take` for every chunk of places, in order; the rows are
/// valid within the call.
void run_windows(
    std::span<Decoder* const> decoders,
    std::span<const std::int32_t> tokens,
    const RunWindowsOptions& options,
    const std::function<void(const ScoredRows& rows)>& take);

}  // namespace roofline
