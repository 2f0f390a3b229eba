// Statements about what fits where, checked by the planner: whether one holds,
// holds under a condition, or doesn't and by how much. The statements come from
// outside.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "roofline/plan/memory.h"

namespace roofline {

enum class ClaimKind {
  fits,       ///< inference at the model's context in so much memory
  size,       ///< weights take about so many gigabytes
  reduction,  ///< the format saves about so many percent of 16 bits
  trains,     ///< training by the method in so much memory
};

struct Claim {
  int section = 0;
  std::string_view text;   ///< as it is written
  std::string_view model;  ///< a name for plan_model()
  ClaimKind kind = ClaimKind::fits;
  int bits = 16;  ///< 4, 8 or 16
  /// GiB of memory; of size: gigabytes; of reduction: percent.
  double figure = 0;
  TrainMethod method = TrainMethod::full;
};

enum class Verdict { holds, only_if, fails };

struct ClaimResult {
  Verdict verdict = Verdict::fails;
  std::string condition;   ///< of only_if: "context ≤ 2048"
  std::string difference;  ///< of fails: "needs 12.3 GB more"
  double needed = 0;       ///< bytes; of reduction: percent
  double allowed = 0;      ///< bytes; of reduction: percent
};

const char* name_of(Verdict verdict);

/// Memory that macOS leaves to the GPU is what a model may take
/// (gpu_working_set_limit). Inference: batch 1, at most 4096 tokens. Training:
/// batch 4 of 512 tokens, adamw, rank 16, 16 bits; then with checkpointing, a
/// smaller batch, shorter sequences and an 8-bit optimizer.
ClaimResult check_claim(const Claim& claim, const PlannedModel& model);

}  // namespace roofline
