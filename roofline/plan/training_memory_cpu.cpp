// What `roofline train` holds at its peak on a CPU. Counted from what its graph
// keeps for the gradient (train/forecast.cpp counts the same for a checkpoint).
#include <algorithm>

#include "roofline/plan/memory.h"

namespace roofline {

namespace {

/// Values a token.
struct LayerValues {
  double kept = 0;     ///< for the layer's gradient
  double working = 0;  ///< alive while that is taken
};

bool adapts(const TrainingQuestion& q, std::string_view target) {
  return q.method == TrainMethod::full ||
         std::find(q.targets.begin(), q.targets.end(), target) !=
             q.targets.end();
}

void add_attention(
    const AttentionSpec& a,
    double dim,
    const TrainingQuestion& q,
    LayerValues& sum) {
  const double queries = 1.0 * a.heads * a.head_dim;
  const double qkv = queries + 2.0 * a.kv_heads * a.head_dim;
  // A product's input is kept where its weights learn.
  const bool input =
      adapts(q, "q_proj") || adapts(q, "k_proj") || adapts(q, "v_proj");
  sum.kept += dim + (input ? dim : 0) + qkv + a.heads + queries;
  sum.working = std::max(sum.working, 2 * qkv + queries + 2 * dim);
}

void add_feed_forward(
    const FeedForwardSpec& f,
    double dim,
    const TrainingQuestion& q,
    LayerValues& sum) {
  const double hidden =
      f.mixture ? 1.0 * f.mixture->top_k * f.mixture->expert_hidden : f.hidden;
  const double up = (f.gated ? 2 : 1) * hidden;
  const bool input = adapts(q, "gate_proj") || adapts(q, "up_proj");
  sum.kept +=
      dim + (input ? dim : 0) + up + (adapts(q, "down_proj") ? hidden : 0);
  sum.working = std::max(sum.working, up + hidden + 2 * dim);
}

LayerValues layer_values(
    const ModelSpec& spec,
    const LayerSpec& layer,
    const TrainingQuestion& q) {
  LayerValues sum;
  if (layer.attention) {
    add_attention(*layer.attention, spec.dim, q, sum);
  }
  if (layer.feed_forward) {
    add_feed_forward(*layer.feed_forward, spec.dim, q, sum);
  }
  return sum;
}

double frozen_bytes(const PlannedModel& model, const TrainingQuestion& q) {
  // Packed codes have 4 bits, and two halves for each group of 32.
  constexpr double kPackedBytes = 0.625;
  double sum = 0;
  for (const ModelTensor& tensor : model.tensors) {
    const bool packed = q.method == TrainMethod::qlora && !tensor.quantized &&
                        tensor.rows > 1 &&
                        tensor.cols % q.base_format.group_size == 0;
    sum += packed ? kPackedBytes * static_cast<double>(tensor.count())
                  : static_cast<double>(held_on_cpu_bytes(tensor));
  }
  return sum;
}

struct Activations {
  double kept = 0;
  double working = 0;  ///< bytes, both
};

Activations activations_of(const ModelSpec& spec, const TrainingQuestion& q) {
  const double tokens = 1.0 * q.batch * static_cast<double>(q.sequence_tokens);
  double kept = 0;
  double working = 0;
  double most_kept = 0;
  for (const LayerSpec& layer : spec.layers) {
    const LayerValues values = layer_values(spec, layer, q);
    kept += q.checkpointing ? spec.dim : values.kept;
    working = std::max(working, values.working);
    most_kept = std::max(most_kept, values.kept);
  }
  working += q.checkpointing ? most_kept : 0;
  // The loss has its piece of the logits while everything is kept; the first
  // layer's gradient comes after it, so that the larger of both counts.
  constexpr double kLogits = 16 << 20;
  const double piece = std::min(tokens, std::max(48.0, kLogits / spec.vocab));
  const double loss = piece * spec.vocab + 3 * tokens * spec.dim;
  constexpr double kPanels = 16 << 20;  // a product's packed side
  return {
      sizeof(float) * tokens * kept,
      sizeof(float) * std::max(tokens * working, loss) + kPanels};
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

}  // namespace

MemoryPrediction predict_cpu_training(
    const PlannedModel& model,
    const TrainingQuestion& q) {
  MemoryPrediction out;
  double trained = static_cast<double>(model.parameters());
  if (q.method == TrainMethod::full) {
    add(out, "weights (float32)", "weights", 4 * trained);
    add(out, "gradients", "gradients", 4 * trained);
  } else {
    const TrainedValues adapters = adapter_values(model, q);
    trained = adapters.values +
              (q.method == TrainMethod::dora ? adapters.magnitudes : 0);
    add(out, "frozen weights", "weights", frozen_bytes(model, q));
    add(out, "adapters (float32)", "adapters", 4 * trained);
    // Of the step and of the batch.
    add(out, "gradients", "gradients", 8 * trained);
  }
  add(out,
      "optimizer state",
      "optimizer",
      optimizer_state_bytes(model, q, trained));
  const Activations held = activations_of(model.spec, q);
  add(out, "kept for the gradient", "activations", held.kept);
  add(out, "at work: a layer, or the loss", "activations", held.working);
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
