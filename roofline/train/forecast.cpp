#include "roofline/train/forecast.h"

#include <algorithm>

#include "roofline/train/batches.h"
#include "roofline/train/parameters.h"
#include "roofline/weights/encodings.h"

namespace roofline {

namespace {

/// Values a token that one layer keeps for its gradient, and the most that are
/// alive beside them while its own gradient is taken.
struct LayerValues {
  double kept = 0;
  double working = 0;
};

/// Bytes of a frozen weight as the kernels read it.
double packed_size(const Tensor& tensor) {
  const auto form = affine_form(tensor);
  if (tensor.rows == 1 || !form || tensor.cols % 32 != 0) {
    return static_cast<double>(tensor.total_bytes());
  }
  const double bits = form->bits + 1.0;  // two halves for each group of 32
  return static_cast<double>(tensor.rows * tensor.cols) * bits / 8;
}

bool has_target(const TrainOptions& options, std::string_view name) {
  return options.method == AdaptMethod::full ||
         std::find(options.targets.begin(), options.targets.end(), name) !=
             options.targets.end();
}

LayerValues layer_values(
    const ModelSpec& spec,
    const LayerSpec& layer,
    const TrainOptions& options) {
  LayerValues v;
  const double dim = spec.dim;
  if (const auto& a = layer.attention) {
    const double q = 1.0 * a->heads * a->head_dim;
    const double qkv = q + 2.0 * a->kv_heads * a->head_dim;
    // Its input, its normed input where a product's weights need it, q, k, v,
    // one sum a head, and the result.
    const bool input = has_target(options, "q_proj") ||
                       has_target(options, "k_proj") ||
                       has_target(options, "v_proj");
    v.kept += dim + (input ? dim : 0) + qkv + a->heads + q;
    v.working = std::max(v.working, 2 * qkv + q + 2 * dim);
  }
  if (const auto& f = layer.feed_forward) {
    const double hidden =
        f->mixture ? 1.0 * f->mixture->top_k * f->mixture->expert_hidden
                   : f->hidden;
    const double up = (f->gated ? 2 : 1) * hidden;
    const bool input =
        has_target(options, "gate_proj") || has_target(options, "up_proj");
    const bool product = has_target(options, "down_proj");
    v.kept += dim + (input ? dim : 0) + up + (product ? hidden : 0);
    v.working = std::max(v.working, up + hidden + 2 * dim);
  }
  return v;
}

double trained_values(
    const Checkpoint& checkpoint,
    const TrainOptions& options) {
  const auto layers = static_cast<int>(checkpoint.spec().layers.size());
  double sum = 0;
  for (const auto& tensor : checkpoint.tensors()) {
    if (!is_trained_name(tensor.name, layers, options.layers)) {
      continue;
    }
    if (options.method == AdaptMethod::full) {
      sum += static_cast<double>(tensor.rows * tensor.cols);
    } else if (is_target(tensor.name, options.targets)) {
      sum +=
          1.0 * options.rank * static_cast<double>(tensor.rows + tensor.cols);
    }
  }
  return sum;
}

double optimizer_bytes(const TrainOptions& options, double values) {
  switch (options.optimizer.name) {
    case OptimizerName::sgd:
      return options.optimizer.momentum != 0 ? 4 * values : 0;
    case OptimizerName::adamw8:
      return values * (2 + 8.0 / 256);
    case OptimizerName::lion:
    case OptimizerName::muon:
      return 4 * values;
    case OptimizerName::adafactor:
      return 0.02 * values;  // sums of rows and columns
    default:
      return 8 * values;
  }
}

}  // namespace

double Forecast::total() const {
  double sum = 0;
  for (const auto& part : parts) {
    sum += part.bytes;
  }
  return sum;
}

std::int64_t largest_batch(const Dataset& data, const TrainOptions& options) {
  // Without packing the longest samples may meet; with it the batch is full.
  std::vector<std::int64_t> sizes;
  for (const auto& example : data.examples) {
    sizes.push_back(
        example.sample.inputs() +
        (example.is_pair() ? example.rejected.inputs() : 0));
  }
  std::sort(sizes.rbegin(), sizes.rend());
  std::int64_t sum = 0;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    if (options.pack) {
      const auto most = std::int64_t{options.batch} * options.max_tokens;
      sum = std::min(most, sum + sizes[i]);
    } else if (i < static_cast<std::size_t>(options.batch)) {
      sum += sizes[i];
    }
  }
  return sum;
}

Forecast forecast_training(
    const Checkpoint& checkpoint,
    const TrainOptions& options,
    std::int64_t tokens) {
  const auto& spec = checkpoint.spec();
  const auto all = static_cast<double>(tokens);
  double weights = 0;
  const auto layers = static_cast<int>(spec.layers.size());
  for (const auto& tensor : checkpoint.tensors()) {
    const bool full = options.method == AdaptMethod::full &&
                      is_trained_name(tensor.name, layers, options.layers);
    const auto count = static_cast<double>(tensor.rows * tensor.cols);
    const bool codes = options.method == AdaptMethod::qlora &&
                       tensor.rows > 1 && tensor.cols % 64 == 0 &&
                       !affine_form(tensor);
    // Packed codes have 4 bits, and two halves for each group of 32.
    weights += full ? 4.0 * count : codes ? 0.625 * count : packed_size(tensor);
  }
  const double trained = trained_values(checkpoint, options);
  double kept = 0;
  double working = 0;
  double most_kept = 0;
  for (const auto& layer : spec.layers) {
    const auto values = layer_values(spec, layer, options);
    kept += options.checkpoint_layers ? spec.dim : values.kept;
    working = std::max(working, values.working);
    most_kept = std::max(most_kept, values.kept);
  }
  if (options.checkpoint_layers) {
    working += most_kept;
  }
  // The loss has its chunk of logits while everything is kept; the first
  // layer's gradient comes after it, so that the larger of both counts.
  const double chunk = std::min(
      all,
      std::max(48.0, static_cast<double>((16 << 20) / spec.vocab)));
  const double loss = 4 * (chunk * spec.vocab + 3 * all * spec.dim);
  // Measured: the graph's evaluation holds the values of several steps of a
  // layer's gradient at once.
  const double alive = options.checkpoint_layers ? 6.4 : 8.0;
  constexpr double kPanels = 16 << 20;  // a product's packed side
  constexpr double kProgram = 45e6;     // program, libraries, heap
  const double tokenizer = 250.0 * spec.vocab;
  Forecast out;
  out.parts = {
      {"weights", weights},
      {options.method == AdaptMethod::full ? "gradients"
                                           : "adapter and gradients",
       (options.method == AdaptMethod::full ? 8 : 12) * trained},
      {"optimizer", optimizer_bytes(options, trained)},
      {"kept for the gradient", 4 * all * kept},
      {"at work", std::max(4 * all * working * alive, loss) + kPanels},
      {"program and tokenizer", kProgram + tokenizer}};
  return out;
}

}  // namespace roofline
