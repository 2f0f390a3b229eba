// One greedy answer with every phase traced (trace.h): the prompt's chunks and
// each step, parted into the model's work and the host's.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "roofline/base/op_times.h"
#include "roofline/model/decoder.h"

namespace roofline {

struct TracedRunOptions {
  int prefill_step = 512;
  int max_tokens = 64;
  bool ignore_eos = false;
};

struct TracedRun {
  std::vector<std::int32_t> tokens;  ///< without the one that ended it
  int prompt_tokens = 0;
  bool stopped = false;      ///< by an end token
  bool interrupted = false;  ///< by the caller
  int steps = 0;             ///< forward calls after the prompt's
  double prefill_seconds = 0;
  double decode_seconds = 0;  ///< of all steps after the first token
  double host_seconds = 0;    ///< of these, between forward calls
  /// First less second step of the warm-up: kernels compiled, pages touched.
  double compile_seconds = 0;
  std::size_t kv_bytes = 0;
  /// By operation; absent where the decoder is a graph that MLX runs whole.
  std::optional<OpTimes::Totals> prefill_ops, decode_ops;

  double prefill_tokens_per_second() const;
  double decode_tokens_per_second() const;
};

/// on_token sees each token as it is drawn; false ends the run. The run ends
/// where the model's context does. Throws what plan_context() and the decoder
/// throw.
TracedRun run_traced(
    Decoder& decoder,
    std::span<const std::int32_t> prompt,
    const TracedRunOptions& options,
    const std::function<bool(std::int32_t)>& on_token);

}  // namespace roofline
