#include <algorithm>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/plan/memory.h"
#include "roofline/spec/adapter_targets.h"

namespace roofline {

namespace {

void check(const TrainingQuestion& q) {
  const auto require = [](bool sound, std::string_view what) {
    if (!sound) {
      fail<UserError>(what, "", "Give another value");
    }
  };
  require(q.rank >= 1, "The rank must be at least 1");
  require(q.batch >= 1, "The batch must have at least 1 sample");
  require(q.sequence_tokens >= 1, "A sequence has at least 1 token");
  constexpr std::int64_t kMostTokens = 1'000'000'000;
  require(
      q.sequence_tokens <= kMostTokens / q.batch,
      "The batch has more than a billion tokens");
  require(
      q.precision_bits == 16 || q.precision_bits == 32,
      "The precision is 16 or 32 bits");
}

/// `kept`: bytes that are given back as gradients are made.
void add_trained(
    MemoryPrediction& out,
    const PlannedModel& model,
    const TrainingQuestion& q,
    double values,
    double kept) {
  const bool full = q.method == TrainMethod::full;
  // Adapters are float32 throughout; a full model's gradients have the
  // precision of its weights.
  const double width = full && !q.card ? q.precision_bits / 8.0 : 4.0;
  if (q.card) {
    // The optimizer works in the system's memory.
    const double given_back = full ? kept : 0;
    out.add(
        "gradients",
        "gradients",
        std::max(0.0, width * values - given_back));
    return;
  }
  out.add("gradients", "gradients", values * width);
  out.add(
      "optimizer state",
      "optimizer",
      optimizer_state_bytes(model, q, values));
  if (full && q.precision_bits == 16) {
    out.add("float32 master weights", "optimizer", 4 * values);
  }
}

}  // namespace

int first_trained(const PlannedModel& model, const TrainingQuestion& q) {
  const int layers = static_cast<int>(model.spec.layers.size());
  return q.trained_layers == 0 ? 0 : std::max(0, layers - q.trained_layers);
}

/// A: [rank, in], B: [out, rank] for every target matrix (arXiv 2106.09685);
/// DoRA adds one magnitude a row (arXiv 2402.09353).
TrainedValues adapter_values(
    const PlannedModel& model,
    const TrainingQuestion& q) {
  TrainedValues sum;
  int matrices = 0;
  for (const std::string& target : q.targets) {
    const std::string_view end = adapter_tensor_end(target);
    for (const ModelTensor& tensor : model.tensors) {
      if (tensor.name.ends_with(end) && learns(model, q, tensor)) {
        sum.values += 1.0 * q.rank * (tensor.rows + tensor.cols);
        sum.magnitudes += static_cast<double>(tensor.rows);
        ++matrices;
      }
    }
  }
  if (matrices == 0) {
    fail<UserError>(
        "None of the targets is in this model",
        "Its layers have other matrices",
        "Name other --targets");
  }
  return sum;
}

/// State of the optimizer, bytes a trained value.
double optimizer_state_bytes(
    const PlannedModel& model,
    const TrainingQuestion& q,
    double values) {
  switch (q.optimizer) {
    case OptimizerKind::sgd:
      return q.momentum ? 4 * values : 0;
    case OptimizerKind::adamw:
      return 8 * values;
    case OptimizerKind::adamw8:
      // Two codes, and two scales for each block of 256.
      return values * (2 + 8.0 / 256);
    case OptimizerKind::lion:
    case OptimizerKind::muon:
      return 4 * values;
    case OptimizerKind::adafactor:
      break;
  }
  // Row and column sums instead of a value each.
  double sums = 0;
  for (const ModelTensor& tensor : model.tensors) {
    sums += static_cast<double>(tensor.rows + tensor.cols);
  }
  return 4 * (q.method == TrainMethod::full ? sums : values);
}

MemoryPrediction predict_training(
    const PlannedModel& model,
    const TrainingQuestion& q) {
  check(q);
  if (!q.gpu) {
    return predict_cpu_training(model, q);
  }
  MemoryPrediction out;
  const auto parameters = static_cast<double>(model.parameters());
  const bool stored_codes = std::any_of(
      model.tensors.begin(),
      model.tensors.end(),
      [](const ModelTensor& tensor) { return tensor.quantized; });
  const GpuActivations activations = gpu_activations(model, q);
  if (q.method == TrainMethod::full) {
    const double width = q.card ? 4.0 : q.precision_bits / 8.0;
    out.add("weights", "weights", parameters * width);
    add_trained(out, model, q, parameters, activations.kept);
  } else {
    double base = parameters * q.precision_bits / 8;
    if (stored_codes) {
      base = static_cast<double>(model.weight_bytes());
    } else if (q.method == TrainMethod::qlora) {
      base =
          static_cast<double>(quantized(model, q.base_format).weight_bytes());
    }
    const TrainedValues adapters = adapter_values(model, q);
    const double trained =
        adapters.values +
        (q.method == TrainMethod::dora ? adapters.magnitudes : 0);
    out.add("frozen weights", "weights", base);
    out.add("adapters (float32)", "adapters", 4 * trained);
    add_trained(out, model, q, trained, activations.kept);
  }
  out.add(
      "activations",
      "activations",
      activations.kept + activations.in_flight);
  out.add(
      "logits and their gradient",
      "logits",
      gpu_logits_bytes(model.spec, q));
  if (q.card) {
    return out;
  }
  out.add(
      "program and tokenizer",
      "runtime",
      static_cast<double>(
          q.constants.runtime_bytes +
          q.constants.tokenizer_per_entry *
              static_cast<std::uint64_t>(model.spec.vocab)));
  return out;
}

}  // namespace roofline
