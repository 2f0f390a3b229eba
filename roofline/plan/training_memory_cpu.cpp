// What `roofline train` holds at its peak on a CPU, counted from what its graph
// keeps for the gradient. `roofline train` asks this, too.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string>
#include <vector>

#include "roofline/base/thread_pool.h"
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

/// What an RMS norm or an activation makes is computed again for the gradients
/// of the products that read it (computed_again()); what MLX's ops make is
/// kept.
bool norm_is_kept(const LayerSpec& layer) {
  return layer.norm.kind == NormKind::layer;
}
bool activation_is_kept(const FeedForwardSpec& f) {
  return f.activation == Activation::xielu || f.gate_scale != 1.0f ||
         f.gate_sparsity;
}

/// DoRA keeps a product before its rows are given their lengths.
bool has_lengths(const TrainingQuestion& q, std::string_view target) {
  return q.method == TrainMethod::dora && adapts(q, target);
}

void add_attention(
    const LayerSpec& layer,
    double dim,
    const TrainingQuestion& q,
    LayerValues& sum) {
  const AttentionSpec& a = *layer.attention;
  const double queries = 1.0 * a.heads * a.head_dim;
  const double qkv = queries + 2.0 * a.kv_heads * a.head_dim;
  // A product's input is kept where its weights learn.
  const bool input =
      adapts(q, "q_proj") || adapts(q, "k_proj") || adapts(q, "v_proj");
  const bool kept = input && norm_is_kept(layer);
  sum.kept += dim + (kept ? dim : 0) + qkv + a.heads + queries;
  if (input && q.method == TrainMethod::dora) {
    sum.kept += qkv;
  }
  sum.kept += has_lengths(q, "o_proj") ? dim : 0;
  sum.working = std::max(sum.working, 2 * qkv + queries + 2 * dim);
}

void add_feed_forward(
    const LayerSpec& layer,
    double dim,
    const TrainingQuestion& q,
    LayerValues& sum) {
  const FeedForwardSpec& f = *layer.feed_forward;
  const double hidden =
      f.mixture ? 1.0 * f.mixture->top_k * f.mixture->expert_hidden +
                      f.mixture->shared_hidden
                : f.hidden;
  const double up = (f.gated ? 2 : 1) * hidden;
  const bool input = adapts(q, "gate_proj") || adapts(q, "up_proj");
  const bool kept = input && norm_is_kept(layer);
  const bool activated = adapts(q, "down_proj") && activation_is_kept(f);
  sum.kept += dim + (kept ? dim : 0) + up + (activated ? hidden : 0);
  if (input && q.method == TrainMethod::dora) {
    sum.kept += up;
  }
  sum.kept += has_lengths(q, "down_proj") ? dim : 0;
  if (f.mixture) {
    // Rows of tokens for each of their experts, before and after.
    sum.kept += 2.0 * f.mixture->top_k * dim + hidden;
  }
  sum.working = std::max(sum.working, up + hidden + 2 * dim);
}

LayerValues layer_values(
    const ModelSpec& spec,
    const LayerSpec& layer,
    const TrainingQuestion& q) {
  LayerValues sum;
  if (layer.attention) {
    add_attention(layer, spec.dim, q, sum);
  }
  if (layer.feed_forward) {
    add_feed_forward(layer, spec.dim, q, sum);
  }
  return sum;
}

/// The layer of "layers.12.…"; −1 for other names.
int layer_of(std::string_view name) {
  constexpr std::string_view kPrefix = "layers.";
  return name.substr(0, kPrefix.size()) == kPrefix
             ? std::atoi(std::string(name.substr(kPrefix.size(), 8)).c_str())
             : -1;
}

bool is_quantized_first(const TrainingQuestion& q, const ModelTensor& tensor) {
  return q.method == TrainMethod::qlora && !tensor.quantized &&
         tensor.rows > 1 && tensor.cols % q.base_format.group_size == 0;
}

/// Weights as they are held: frozen ones packed, trained ones as floats.
double weight_bytes(const PlannedModel& stored, const TrainingQuestion& q) {
  const PlannedModel model = q.method == TrainMethod::qlora
                                 ? quantized(stored, q.base_format)
                                 : stored;
  double sum = 0;
  for (const ModelTensor& tensor : model.tensors) {
    sum += q.method == TrainMethod::full && learns(model, q, tensor)
               ? 4.0 * static_cast<double>(tensor.count())
               : static_cast<double>(held_on_cpu_bytes(tensor));
  }
  return sum;
}

/// Full training: values that learn.
double full_values(const PlannedModel& model, const TrainingQuestion& q) {
  double sum = 0;
  for (const ModelTensor& tensor : model.tensors) {
    sum += learns(model, q, tensor) ? static_cast<double>(tensor.count()) : 0;
  }
  return sum;
}

/// Of the batch's gradient, what is there beside the step's: it comes a layer
/// at a time, and that of the head before all layers'.
double values_on_the_way(
    const PlannedModel& model,
    const TrainingQuestion& q,
    double trained) {
  const std::size_t layers = model.spec.layers.size();
  if (q.method != TrainMethod::full) {
    return trained /
           std::max(1.0, static_cast<double>(layers) - first_trained(model, q));
  }
  std::vector<double> of_layer(layers);
  double head = 0;
  for (const ModelTensor& tensor : model.tensors) {
    if (!learns(model, q, tensor)) {
      continue;
    }
    const int layer = layer_of(tensor.name);
    const auto count = static_cast<double>(tensor.count());
    if (layer >= 0) {
      of_layer[static_cast<std::size_t>(layer)] += count;
    } else {
      head = std::max(head, count);
    }
  }
  return head + *std::max_element(of_layer.begin(), of_layer.end());
}

/// What a layer's gradient has at once: its own values, and rows of the model's
/// width that every layer leaves with the allocator. Measured, on 2 to 30
/// layers of 576 to 2048 columns (docs/memory.md).
struct Alive {
  double working;
  double rows_a_layer;
};
constexpr Alive kAliveKept = {0.6, 0.7};
constexpr Alive kAliveAgain = {0.7, 0.8};

struct Activations {
  double kept = 0;
  double working = 0;  ///< bytes, all
  double loss = 0;

  double all() const { return kept + working + loss; }
};

/// Full training of few tokens peaks at its end, when a tied embedding has its
/// second gradient and most activations are gone. Bytes beyond `held`; measured
/// on SmolLM2 with 16 to 512 tokens.
double gradients_end_bytes(
    const PlannedModel& model,
    const TrainingQuestion& q,
    const Activations& held) {
  constexpr double kGone = 0.25;
  const bool whole = q.method == TrainMethod::full && q.trained_layers == 0;
  if (!whole || !model.spec.tied_embeddings) {
    return 0;
  }
  const double embedding = 4.0 * model.spec.vocab * model.spec.dim;
  return std::max(0.0, embedding - kGone * held.all());
}

/// Values of the loss's piece of the logits (kernels/token_loss).
double piece_values(
    const ModelSpec& spec,
    const TrainingQuestion& q,
    double tokens) {
  constexpr double kLogits = 16 << 20;
  constexpr double kLeastRows = 48;
  const double piece =
      std::min(tokens, std::max(kLeastRows, std::floor(kLogits / spec.vocab)));
  const double capped =
      (spec.logit_softcap ? 2 : 1) + (q.teacher_bytes > 0 ? 1 : 0);
  return capped * piece * spec.vocab;
}

Activations activations_of(
    const PlannedModel& model,
    const TrainingQuestion& q) {
  const ModelSpec& spec = model.spec;
  const auto tokens =
      static_cast<double>(q.batch_tokens.value_or(q.batch * q.sequence_tokens));
  double kept = 0;
  double working = 0;
  double most_kept = 0;
  for (std::size_t i = static_cast<std::size_t>(first_trained(model, q));
       i < spec.layers.size();
       ++i) {
    const LayerValues values = layer_values(spec, spec.layers[i], q);
    kept += q.checkpointing ? spec.dim : values.kept;
    working = std::max(working, values.working);
    most_kept = std::max(most_kept, values.kept);
  }
  working += q.checkpointing ? most_kept : 0;
  const Alive alive = q.checkpointing ? kAliveAgain : kAliveKept;
  const auto layers =
      static_cast<double>(spec.layers.size()) - first_trained(model, q);
  const double rows = alive.rows_a_layer * layers * spec.dim;
  return {
      sizeof(float) * tokens * kept,
      sizeof(float) * tokens * (alive.working * working + rows),
      sizeof(float) * (piece_values(spec, q, tokens) + 3 * tokens * spec.dim)};
}

/// Bytes of what a batch takes of which only the loss is asked. Every layer
/// leaves a row of the model's width a token, whether it learns or not.
/// Measured on SmolLM2 with 3200 and 6400 tokens.
double forward_bytes(const PlannedModel& model, const TrainingQuestion& q) {
  constexpr double kAlive = 0.5;
  const ModelSpec& spec = model.spec;
  const auto tokens = static_cast<double>(q.forward_tokens);
  double working = 0;
  for (const LayerSpec& layer : spec.layers) {
    working = std::max(working, layer_values(spec, layer, q).working);
  }
  const double rows = static_cast<double>(spec.layers.size()) * spec.dim;
  return sizeof(float) *
         (tokens * (rows + kAlive * working) + piece_values(spec, q, tokens));
}

/// What comes before or after a step and takes more; a step's own activations
/// are gone then.
void add_beyond_step(
    MemoryPrediction& out,
    const PlannedModel& model,
    const TrainingQuestion& q,
    const Activations& held,
    double other_gone) {
  const double gone = held.all() + other_gone;
  const double validation = forward_bytes(model, q) - gone;
  // The files' pages count; the loss's piece stays with the allocator.
  const double writing =
      q.writes_model
          ? static_cast<double>(model.weight_bytes()) - (gone - held.loss)
          : 0;
  validation >= writing
      ? out.add("validation, beyond a step", "activations", validation)
      : out.add("writing, beyond a step", "transients", writing);
}

/// Most that loading holds beside all weights: matrices that are read as one,
/// as floats on their way to codes.
double loading_bytes(const PlannedModel& model, const TrainingQuestion& q) {
  constexpr double kOnTheWay = 7.5;  // bytes a value: measured
  double most = 0;
  for (const ModelTensor& tensor : model.tensors) {
    if (is_quantized_first(q, tensor)) {
      most = std::max(most, kOnTheWay * static_cast<double>(tensor.count()));
    }
  }
  return most;
}

/// What every thread has of its own: two rows of logits (kernels/token_loss),
/// and one head's keys, values and their gradients, both packed too
/// (kernels/packed_attention).
double thread_bytes(const ModelSpec& spec, const TrainingQuestion& q) {
  double dims = 0;
  for (const LayerSpec& layer : spec.layers) {
    if (layer.attention) {
      dims = std::max<double>(dims, layer.attention->head_dim);
    }
  }
  const auto tokens = static_cast<double>(
      std::min(q.sequence_tokens, q.batch_tokens.value_or(q.sequence_tokens)));
  return sizeof(float) * (2.0 * spec.vocab + 6 * tokens * dims);
}

}  // namespace

bool learns(
    const PlannedModel& model,
    const TrainingQuestion& q,
    const ModelTensor& tensor) {
  return q.trained_layers == 0 ||
         layer_of(tensor.name) >= first_trained(model, q);
}

MemoryPrediction predict_cpu_training(
    const PlannedModel& model,
    const TrainingQuestion& q) {
  MemoryPrediction out;
  const bool full = q.method == TrainMethod::full;
  const double weights = weight_bytes(model, q);
  double trained = 0;
  if (full) {
    trained = full_values(model, q);
    out.add("weights", "weights", weights);
  } else {
    const TrainedValues adapters = adapter_values(model, q);
    trained = adapters.values +
              (q.method == TrainMethod::dora ? adapters.magnitudes : 0);
    out.add("frozen weights", "weights", weights);
    out.add("adapters (float32)", "adapters", 4 * trained);
  }
  const double on_the_way = 4 * values_on_the_way(model, q, trained);
  out.add("gradients", "gradients", 4 * trained + on_the_way);
  out.add(
      "optimizer state",
      "optimizer",
      optimizer_state_bytes(model, q, trained));
  out.add("the teacher", "weights", q.teacher_bytes);
  const Activations held = activations_of(model, q);
  out.add(
      q.checkpointing ? "inputs of layers" : "kept for the gradient",
      "activations",
      held.kept);
  // The loss's memory isn't given back before the first layers' gradients come.
  out.add(
      q.checkpointing ? "a layer, computed again" : "a layer's gradient",
      "activations",
      held.working);
  out.add("logits, a piece at a time", "logits", held.loss);
  const double end = gradients_end_bytes(model, q, held);
  out.add("the embedding's second gradient", "activations", end);
  add_beyond_step(out, model, q, held, end + on_the_way);
  // A product's packed side, and what the graph and the allocator hold.
  // That was measured with two threads.
  constexpr double kPanels = (16 << 20) + 10e6;
  constexpr int kMeasuredThreads = 2;
  out.add("products and the graph", "transients", kPanels);
  out.add(
      "rows of more threads",
      "transients",
      std::max(0, q.threads - kMeasuredThreads) * thread_bytes(model.spec, q));
  out.add(
      "program and tokenizer",
      "runtime",
      static_cast<double>(
          q.constants.runtime_bytes +
          q.constants.tokenizer_per_entry *
              static_cast<std::uint64_t>(model.spec.vocab)));
  const double loading = loading_bytes(model, q);
  const double beside = static_cast<double>(out.total()) - weights;
  out.add("loading, beyond the rest", "loading", loading - beside);
  return out;
}

}  // namespace roofline
