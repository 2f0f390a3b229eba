#include <algorithm>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/plan/memory.h"
#include "roofline/spec/adapter_targets.h"

namespace roofline {

namespace {

bool ends_with(std::string_view text, std::string_view end) {
  return text.size() >= end.size() &&
         text.substr(text.size() - end.size()) == end;
}

struct LayerCost {
  double kept = 0;     ///< values a token that backward needs
  double working = 0;  ///< values a token alive inside one layer's backward
};

/// Counted as in "Reducing activation recomputation" (arXiv 2205.05198), with
/// fused attention, which keeps no scores: the inputs of both norms, of q, k, v
/// and o, the feed-forward's gate, up and product.
LayerCost layer_cost(const ModelSpec& spec, const LayerSpec& layer) {
  double values = 2.0 * spec.dim;
  if (const auto& a = layer.attention) {
    values += spec.dim + 2.0 * a->heads * a->head_dim +
              2.0 * a->kv_heads * a->head_dim;
  }
  if (const auto& r = layer.recurrent) {
    values += spec.dim + 3.0 * r->heads * r->head_dim + r->conv_channels;
  }
  if (const auto& f = layer.feed_forward) {
    double hidden = f->hidden;
    if (f->mixture) {
      hidden += 1.0 * f->mixture->top_k * f->mixture->expert_hidden +
                f->mixture->shared_hidden;
    }
    values += spec.dim + (f->gated ? 3 : 2) * hidden;
  }
  return {values, values};
}

double activation_bytes(const ModelSpec& spec, const TrainingQuestion& q) {
  double kept = 0;
  double working = 0;
  for (const LayerSpec& layer : spec.layers) {
    const LayerCost cost = layer_cost(spec, layer);
    // With checkpointing only the layer's input stays; the rest is made again,
    // one layer at a time.
    kept += q.checkpointing ? spec.dim : cost.kept;
    working = std::max(working, cost.working);
  }
  const double tokens = 1.0 * q.batch * static_cast<double>(q.sequence_tokens);
  return tokens * (kept + working) * (q.precision_bits / 8.0);
}

double logits_bytes(const ModelSpec& spec, const TrainingQuestion& q) {
  double tokens = 1.0 * q.batch * static_cast<double>(q.sequence_tokens);
  if (q.loss_chunk_tokens) {
    tokens = std::min<double>(tokens, *q.loss_chunk_tokens);
  }
  // The logits and their gradient, float32.
  return 2 * tokens * spec.vocab * sizeof(float);
}

void check(const TrainingQuestion& q) {
  const auto require = [](bool sound, std::string_view what) {
    if (!sound) {
      fail<UserError>(what, "", "Give another value");
    }
  };
  require(q.rank >= 1, "The rank must be at least 1");
  require(q.batch >= 1, "The batch must have at least 1 sample");
  require(q.sequence_tokens >= 1, "A sequence has at least 1 token");
  require(
      q.precision_bits == 16 || q.precision_bits == 32,
      "The precision is 16 or 32 bits");
}

void add(
    MemoryPrediction& out,
    const char* name,
    const char* kind,
    double bytes) {
  if (bytes >= 1) {
    out.parts.push_back({name, kind, static_cast<std::uint64_t>(bytes)});
  }
}

void add_trained(
    MemoryPrediction& out,
    const PlannedModel& model,
    const TrainingQuestion& q,
    double values) {
  // Adapters are float32 throughout; a full model's gradients have the
  // precision of its weights.
  const bool full = q.method == TrainMethod::full;
  const double gradient = full ? q.precision_bits / 8.0 : 4.0;
  add(out, "gradients", "gradients", values * gradient);
  add(out,
      "optimizer state",
      "optimizer",
      optimizer_state_bytes(model, q, values));
  if (full && q.precision_bits == 16) {
    add(out, "float32 master weights", "optimizer", 4 * values);
  }
}

}  // namespace

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
      if (ends_with(tensor.name, end) && learns(model, q, tensor)) {
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
  if (q.method == TrainMethod::full) {
    add(out, "weights", "weights", parameters * q.precision_bits / 8);
    add_trained(out, model, q, parameters);
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
    add(out, "frozen weights", "weights", base);
    add(out, "adapters (float32)", "adapters", 4 * trained);
    add_trained(out, model, q, trained);
  }
  add(out, "activations", "activations", activation_bytes(model.spec, q));
  add(out, "logits and their gradient", "logits", logits_bytes(model.spec, q));
  add(out,
      "program and tokenizer",
      "runtime",
      static_cast<double>(
          q.constants.runtime_bytes +
          q.constants.tokenizer_per_entry *
              static_cast<std::uint64_t>(model.spec.vocab)));
  return out;
}

}  // namespace roofline
