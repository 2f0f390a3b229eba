// Predicts tokens a second from bytes and operations: a phase takes the longer
// of moving its bytes at the measured bandwidth and of its operations at the
// measured peak. All logits are made: where the largest alone decide, a CPU
// reads less of the head than is counted here (kernels/block/head_screen.h).
#pragma once

#include <cstdint>
#include <string>

#include "roofline/plan/memory.h"
#include "roofline/plan/planned_model.h"

namespace roofline {

/// What a machine can do, measured here or published for a chip.
struct MachineRates {
  std::string name;
  double bytes_per_second = 0;
  /// Multiply-adds count as two. Of the path that runs the model's format.
  double operations_per_second = 0;
  /// Share of bytes_per_second that decode reaches in practice, in (0, 1].
  double decode_efficiency = 0.7;
  double prefill_efficiency = 0.5;
};

struct PhaseWork {
  double bytes = 0;
  double operations = 0;
  double kv_bytes = 0;  ///< of bytes: keys, values and recurrent states
};

/// One decode step of `batch` sequences at `depth` tokens. Of a mixture, the
/// experts that so many tokens are expected to touch.
PhaseWork decode_work(
    const PlannedModel& model,
    std::int64_t depth,
    int batch = 1,
    const KvFormat& kv = {},
    int kv_float_bits = 16);
/// Prefill of `tokens` tokens in steps of prefill_step, after `depth` tokens
/// that are in the cache; of `batch` sequences in the same steps.
PhaseWork prefill_work(
    const PlannedModel& model,
    std::int64_t tokens,
    int prefill_step = 512,
    std::int64_t depth = 0,
    int batch = 1,
    const KvFormat& kv = {});

struct SpeedPrediction {
  double decode_roof = 0;  ///< tokens a second, all sequences together
  double decode = 0;       ///< expected
  double prefill_roof = 0;
  double prefill = 0;
};

/// Decodes after the prompt. A rate of 0 isn't known: decode is then told by
/// the other, and prefill, which arithmetic bounds, is 0.
SpeedPrediction predict_speed(
    const PlannedModel& model,
    const InferenceQuestion& question,
    std::int64_t prompt_tokens,
    const MachineRates& rates);

}  // namespace roofline
