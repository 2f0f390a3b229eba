// Training as a graph of MLX's ops, on a GPU: what automatic differentiation
// keeps. Counted from the ops of a layer and held against an H100: see the
// table of docs/memory.md.
#include <algorithm>

#include "roofline/kernels/token_loss/graph_token_loss.h"
#include "roofline/plan/memory.h"

namespace roofline {

namespace {

/// Values a token that the ops of a layer keep for the gradient.
struct GpuLayerValues {
  double activations = 0;
  double scores = 0;  ///< of attention, for each key
};

GpuLayerValues gpu_layer_values(const ModelSpec& spec, const LayerSpec& layer) {
  GpuLayerValues out;
  // The stream, its norm's result and the sums, of both halves.
  out.activations = 6.0 * spec.dim;
  if (const auto& a = layer.attention) {
    const double q = 1.0 * a->heads * a->head_dim;
    const double kv = 2.0 * a->kv_heads * a->head_dim;
    // Queries before and after their rotation, the result; keys and values
    // rotated, cached, and as wide as the queries.
    out.activations += 5 * q + 2.5 * kv;
    out.scores = a->heads;
  }
  if (const auto& r = layer.recurrent) {
    out.activations += spec.dim + 3.0 * r->heads * r->head_dim +
                       static_cast<double>(r->conv_channels);
  }
  if (const auto& f = layer.feed_forward) {
    double hidden = f->hidden;
    if (f->mixture) {
      hidden += 1.0 * f->mixture->top_k * f->mixture->expert_hidden +
                f->mixture->shared_hidden;
    }
    // Gate, up, the sigmoid, both products, and a gradient's copy.
    out.activations += (f->gated ? 6 : 3) * hidden;
  }
  return out;
}

/// Layers whose work is alive at once beside what is kept: MLX runs ops of
/// several layers at a time where their inputs are there.
constexpr int kLayersInFlight = 3;
constexpr int kLayersInFlightAgain = 5;

}  // namespace

GpuActivations gpu_activations(
    const PlannedModel& model,
    const TrainingQuestion& q) {
  const ModelSpec& spec = model.spec;
  const double tokens = 1.0 * q.batch * static_cast<double>(q.sequence_tokens);
  // What is trained in full is float32, and so are the products with it.
  const double width =
      q.method == TrainMethod::full ? 4.0 : q.precision_bits / 8.0;
  const auto first = static_cast<std::size_t>(first_trained(model, q));
  double kept = 0;
  double largest = 0;
  for (std::size_t i = 0; i < spec.layers.size(); ++i) {
    const GpuLayerValues values = gpu_layer_values(spec, spec.layers[i]);
    const double bytes =
        tokens *
        (values.activations * width +
         values.scores * static_cast<double>(q.sequence_tokens) * width);
    largest = std::max(largest, bytes);
    if (i < first) {
      continue;
    }
    if (!q.checkpointing) {
      kept += bytes;
      continue;
    }
    kept += tokens * spec.dim * width;
  }
  const int layers = q.checkpointing ? kLayersInFlightAgain : kLayersInFlight;
  return {kept, layers * largest};
}

double gpu_logits_bytes(const ModelSpec& spec, const TrainingQuestion& q) {
  // The logits of a few rows, their exponentials, gradient and its product.
  constexpr double kCopies = 4;
  const double tokens = 1.0 * q.batch * static_cast<double>(q.sequence_tokens);
  const double rows =
      std::max<double>(1, static_cast<double>(kLogitsAtOnce / spec.vocab));
  return kCopies * std::min(tokens, rows) * spec.vocab * sizeof(float);
}

}  // namespace roofline
