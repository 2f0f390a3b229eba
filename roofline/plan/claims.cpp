#include "roofline/plan/claims.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "roofline/base/units.h"
#include "roofline/plan/chips.h"
#include "roofline/plan/fit.h"

namespace roofline {

namespace {

constexpr double kGiga = 1e9;
constexpr std::int64_t kContext = 4096;
constexpr int kClaimedGroup = 64;
constexpr int kClaimedRank = 16;
/// "About": a size within a tenth, a share within two percent points.
constexpr double kSizeTolerance = 0.1;
constexpr double kPercentTolerance = 2;

std::optional<WeightFormat> format_of(const Claim& claim) {
  return claim.bits < 16
             ? std::optional(WeightFormat{claim.bits, kClaimedGroup})
             : std::nullopt;
}

std::string missing(double needed, double allowed) {
  return fmt::format(
      "needs {:.1f} GB, {:.1f} GB more than the {:.1f} GB there are",
      needed / kGiga,
      (needed - allowed) / kGiga,
      allowed / kGiga);
}

double budget_of(const Claim& claim) {
  return static_cast<double>(
      gpu_working_set_limit(static_cast<std::uint64_t>(claim.figure * kGib)));
}

ClaimResult check_fits(const Claim& claim, const PlannedModel& model) {
  InferenceQuestion question;
  question.gpu = true;
  question.quantize = format_of(claim);
  const std::int64_t own = model.spec.context_tokens;
  question.context_tokens = own > 0 ? std::min(own, kContext) : kContext;
  ClaimResult result;
  result.allowed = budget_of(claim);
  const auto budget = static_cast<std::uint64_t>(result.allowed);
  const auto needed = predict_inference(model, question).total();
  result.needed = static_cast<double>(needed);
  if (needed <= budget) {
    result.verdict = Verdict::holds;
    return result;
  }
  for (const int bits : {16, 8, 4}) {
    question.set_kv_bits(bits);
    const std::int64_t tokens = largest_context(model, question, budget);
    if (tokens > 0) {
      result.verdict = Verdict::only_if;
      result.condition = fmt::format("context ≤ {} tokens", tokens);
      if (bits < 16) {
        result.condition += fmt::format(", KV cache in {} bits", bits);
      }
      return result;
    }
  }
  result.difference = missing(result.needed, result.allowed);
  return result;
}

double weights_of(const Claim& claim, const PlannedModel& model) {
  const auto format = format_of(claim);
  const auto bytes =
      format ? quantized(model, *format).weight_bytes() : model.weight_bytes();
  return static_cast<double>(bytes);
}

ClaimResult check_size(const Claim& claim, const PlannedModel& model) {
  ClaimResult result;
  result.needed = weights_of(claim, model);
  result.allowed = claim.figure * kGiga;
  const double off = result.needed / result.allowed - 1;
  if (std::abs(off) <= kSizeTolerance) {
    result.verdict = Verdict::holds;
  } else {
    result.difference = fmt::format(
        "is {:.2f} GB, {:+.0f} %",
        result.needed / kGiga,
        off * 100);
  }
  return result;
}

ClaimResult check_reduction(const Claim& claim, const PlannedModel& model) {
  ClaimResult result;
  const double whole = 2.0 * static_cast<double>(model.parameters());
  result.needed = 100 * (1 - weights_of(claim, model) / whole);
  result.allowed = claim.figure;
  if (std::abs(result.needed - result.allowed) <= kPercentTolerance) {
    result.verdict = Verdict::holds;
  } else {
    result.difference = fmt::format(
        "saves {:.1f} %: the scales of groups of {} take the rest",
        result.needed,
        kClaimedGroup);
  }
  return result;
}

/// Ever smaller settings, in the order in which one gives them up.
struct TrainStep {
  bool checkpointing;
  int batch;
  std::int64_t sequence_tokens;
  OptimizerKind optimizer;
};
constexpr TrainStep kTrainSteps[] = {
    {false, 4, 512, OptimizerKind::adamw},
    {true, 4, 512, OptimizerKind::adamw},
    {true, 2, 512, OptimizerKind::adamw},
    {true, 1, 512, OptimizerKind::adamw},
    {true, 1, 256, OptimizerKind::adamw},
    {true, 1, 128, OptimizerKind::adamw},
    {true, 1, 128, OptimizerKind::adamw8},
    {true, 1, 128, OptimizerKind::adafactor},
};

std::string condition_text(const TrainStep& step) {
  std::string text = "with checkpointing";
  if (step.batch < kTrainSteps[0].batch) {
    text += fmt::format(", batch ≤ {}", step.batch);
  }
  if (step.sequence_tokens < kTrainSteps[0].sequence_tokens) {
    text += fmt::format(", sequence ≤ {} tokens", step.sequence_tokens);
  }
  if (step.optimizer == OptimizerKind::adamw8) {
    text += ", optimizer adamw8";
  } else if (step.optimizer == OptimizerKind::adafactor) {
    text += ", optimizer adafactor";
  }
  return text;
}

/// What no setting makes smaller.
struct FixedPart {
  const char* name;
  double bytes;
};

FixedPart fixed_part(const Claim& claim, const MemoryPrediction& least) {
  const auto weights = static_cast<double>(least.of("weights"));
  if (claim.method != TrainMethod::full) {
    return {
        claim.method == TrainMethod::qlora ? "4-bit weights" : "16-bit weights",
        weights};
  }
  return {
      "weights and gradients",
      weights + static_cast<double>(least.of("gradients"))};
}

ClaimResult check_trains(const Claim& claim, const PlannedModel& model) {
  TrainingQuestion question;
  question.method = claim.method;
  question.rank = kClaimedRank;
  ClaimResult result;
  result.allowed = budget_of(claim);
  double least = 0;
  for (const TrainStep& step : kTrainSteps) {
    question.checkpointing = step.checkpointing;
    question.batch = step.batch;
    question.sequence_tokens = step.sequence_tokens;
    question.optimizer = step.optimizer;
    least = static_cast<double>(predict_training(model, question).total());
    const bool first = &step == kTrainSteps;
    if (first) {
      result.needed = least;
    }
    if (least <= result.allowed) {
      result.verdict = first ? Verdict::holds : Verdict::only_if;
      result.condition = first ? "" : condition_text(step);
      return result;
    }
  }
  result.difference = missing(result.needed, result.allowed);
  const FixedPart fixed = fixed_part(claim, predict_training(model, question));
  result.difference +=
      fixed.bytes > result.allowed
          ? fmt::format(
                ", of which the {} alone take {:.1f} GB",
                fixed.name,
                fixed.bytes / kGiga)
          : fmt::format(
                "; {:.1f} GB {}",
                least / kGiga,
                condition_text(kTrainSteps[std::size(kTrainSteps) - 1]));
  return result;
}

}  // namespace

const char* name_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::holds:
      return "holds";
    case Verdict::only_if:
      return "holds only if";
    case Verdict::fails:
      break;
  }
  return "does not hold";
}

ClaimResult check_claim(const Claim& claim, const PlannedModel& model) {
  switch (claim.kind) {
    case ClaimKind::fits:
      return check_fits(claim, model);
    case ClaimKind::size:
      return check_size(claim, model);
    case ClaimKind::reduction:
      return check_reduction(claim, model);
    case ClaimKind::trains:
      break;
  }
  return check_trains(claim, model);
}

}  // namespace roofline
