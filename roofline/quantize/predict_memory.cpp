#include "roofline/quantize/predict_memory.h"

#include <algorithm>
#include <map>
#include <string>

#include <fmt/format.h>

#include "roofline/quantize/calibrate.h"
#include "roofline/quantize/layered_quality.h"

namespace roofline {

namespace {

/// The program with its libraries, the tokenizer and the thread pool: measured
/// on Linux with vocabularies of 49,000 and 262,000 tokens.
constexpr std::uint64_t kProgramBytes = 120u << 20;
constexpr std::uint64_t kTokenizerPerEntry = 700;
/// While the tokenizer's file is being read.
constexpr std::uint64_t kReadingPerEntry = 1500;
/// Rows of logits that distillation holds, twice: logits and their source.
constexpr std::uint64_t kLogitBytes = 4 * (std::uint64_t{64} << 20);
/// Float32 copies of a matrix that calibration holds: the weights, what is
/// left of them, codes with what refining needs, and what they decode to.
constexpr std::uint64_t kCalibratedCopies = 5;
/// Activations of a window inside a layer, in rows as wide as its widest
/// matrix.
constexpr std::uint64_t kActivationRows = 8;
/// Tokens of a window that is compared.
constexpr std::uint64_t kComparedWindow = 512;

struct Shape {
  std::uint64_t largest = 0;  ///< weights of a layer's largest matrix
  std::uint64_t piece = 0;    ///< most weights that are worked on at a time
  std::uint64_t widest = 0;   ///< most columns of a matrix within a layer
  std::uint64_t layer = 0;    ///< weights of the largest layer
  std::uint64_t ends = 0;     ///< weights of the embedding or the head
  std::uint64_t stack = 0;    ///< weights of the largest stack of experts
  std::uint64_t moments = 0;  ///< squares of columns, each input once
  std::uint64_t expert_moments = 0;  ///< in bytes, of a layer's experts
  std::uint64_t all = 0;
};

/// Experts that keep moments of their own, in the layer where they take most.
std::uint64_t expert_moment_bytes(const ModelSpec& spec) {
  std::int64_t most = 0;
  for (const LayerSpec& layer : spec.layers) {
    if (!layer.feed_forward || !layer.feed_forward->mixture) {
      continue;
    }
    const MixtureSpec& mixture = *layer.feed_forward->mixture;
    std::int64_t sum = 0;
    for (const std::int64_t cols : {spec.dim, mixture.expert_hidden}) {
      const std::int64_t bytes = 4 * mixture.experts * cols * cols;
      sum += bytes <= kMostExpertMoments ? bytes : 0;
    }
    most = std::max(most, sum);
  }
  return static_cast<std::uint64_t>(most);
}

Shape shape_of(const Checkpoint& checkpoint, std::int64_t piece_weights) {
  Shape shape;
  std::map<std::string, std::uint64_t> layers;
  for (const Tensor& tensor : checkpoint.tensors()) {
    const auto weights = static_cast<std::uint64_t>(tensor.rows) *
                         static_cast<std::uint64_t>(tensor.cols);
    shape.all += weights;
    // Heads in pairs come whole (mlx_writer.h).
    const bool whole = tensor.name.ends_with(".attention.q") ||
                       tensor.name.ends_with(".attention.k");
    const auto most = static_cast<std::uint64_t>(piece_weights);
    shape.piece =
        std::max(shape.piece, whole ? weights : std::min(weights, most));
    if (!tensor.name.starts_with("layers.")) {
      shape.ends = std::max(shape.ends, weights);
      continue;
    }
    const auto end = tensor.name.find('.', 7);
    layers[tensor.name.substr(0, end)] += weights;
    shape.largest = std::max(shape.largest, weights);
    if (tensor.name.find(".experts.") != std::string::npos) {
      shape.stack = std::max(shape.stack, weights);
    }
    if (tensor.rows > 1) {
      shape.widest =
          std::max(shape.widest, static_cast<std::uint64_t>(tensor.cols));
    }
  }
  for (const auto& [name, weights] : layers) {
    shape.layer = std::max(shape.layer, weights);
  }
  // Inputs of q, k, v; of o; of gate, up; of down.
  shape.moments = 4 * shape.widest * shape.widest;
  shape.expert_moments = expert_moment_bytes(checkpoint.spec());
  return shape;
}

/// What distillation has in memory: a byte a code, trained values (as they are,
/// their best, their gradient, Adam's two moments), the source's last rows, its
/// head, the head's decoded copy with its gradient, logits of both models; and
/// of a step: each layer's input, one layer with its gradient and what its
/// products keep, twice for their gradients. Matrices are decoded from codes
/// alone, so MLX may have all of them decoded before the first is needed.
std::uint64_t distillation_bytes(
    const Checkpoint& checkpoint,
    const FormatPlan& plan,
    const QuantizeOptions& options,
    const Shape& shape) {
  std::uint64_t codes = 0;
  std::uint64_t floats = 0;
  std::uint64_t groups = 0;
  for (const auto& [name, format] : plan.formats) {
    const Tensor& tensor = checkpoint.at(name);
    const auto weights = static_cast<std::uint64_t>(tensor.rows * tensor.cols);
    if (format.mode == QuantMode::keep) {
      floats += 4 * weights;
    } else {
      codes += weights;
      groups += weights / static_cast<std::uint64_t>(format.group_size);
      // What isn't trained is decoded once.
      floats += format.mode == QuantMode::affine ? 0 : 4 * weights;
    }
  }
  const DistillOptions& distill = options.distill;
  std::uint64_t tokens = 0;
  for (const auto& window : distill.windows) {
    tokens += window.size();
  }
  const auto dim = static_cast<std::uint64_t>(checkpoint.spec().dim);
  const auto layers = checkpoint.spec().layers.size();
  const auto step = static_cast<std::uint64_t>(distill.step_tokens);
  const std::uint64_t trained = 2 * groups * 4 * 6;
  const std::uint64_t head = 3 * 4 * shape.ends + kLogitBytes;
  const std::uint64_t activations =
      4 * step * (layers * dim + 4 * kActivationRows * shape.widest);
  return codes + floats + trained + 2 * tokens * dim * 4 + head + activations +
         2 * 4 * shape.layer + 4 * codes;
}

std::uint64_t vocab_of(const Checkpoint& checkpoint) {
  return static_cast<std::uint64_t>(checkpoint.spec().vocab);
}

std::uint64_t program_bytes(const Checkpoint& checkpoint) {
  return kProgramBytes + vocab_of(checkpoint) * kTokenizerPerEntry;
}

std::uint64_t activation_bytes(
    const Checkpoint& checkpoint,
    const Shape& shape,
    std::uint64_t rows) {
  const auto dim = static_cast<std::uint64_t>(checkpoint.spec().dim);
  return kActivationRows * rows * std::max(shape.widest, dim) * 4;
}

/// What comes out of both models' layers and the second's stream; a layer, or
/// a piece of both heads with its logits.
std::uint64_t comparison_bytes(
    const Checkpoint& checkpoint,
    const Shape& shape,
    int tokens) {
  const auto all = static_cast<std::uint64_t>(tokens);
  const auto dim = static_cast<std::uint64_t>(checkpoint.spec().dim);
  const auto window = std::min(all, kComparedWindow);
  const auto rows = static_cast<std::uint64_t>(
      compared_rows(checkpoint.spec(), static_cast<std::int64_t>(window)));
  // While one is being read, its source's pages; later logits of both, and
  // what scale and softcap make of them.
  const std::uint64_t head =
      std::max(3 * 4 * rows * dim, 2 * 4 * rows * dim + 3 * 4 * rows * window);
  const std::uint64_t layer =
      2 * 4 * shape.layer + activation_bytes(checkpoint, shape, window);
  return 3 * all * dim * 4 + std::max(head, layer);
}

}  // namespace

std::uint64_t predict_quantize_memory(
    const Checkpoint& checkpoint,
    const FormatPlan& plan,
    const QuantizeOptions& options,
    int quality_tokens) {
  const Shape shape = shape_of(checkpoint, options.piece_weights);
  const auto dim = static_cast<std::uint64_t>(checkpoint.spec().dim);
  // Weights, codes and their packed form; the mapped source.
  std::uint64_t most = shape.piece * (4 + 1 + 1 + 4);
  std::uint64_t tokens = 0;
  std::uint64_t longest = 0;
  for (const auto& window : options.windows) {
    tokens += window.size();
    longest = std::max(longest, std::uint64_t{window.size()});
  }
  const auto activations = [&](std::uint64_t rows) {
    return activation_bytes(checkpoint, shape, rows);
  };
  if (tokens > 0) {
    // What GPTQ makes up for is seen in a second stream through a second copy
    // of the layer, and has moments of its own.
    const std::uint64_t streams = options.method == QuantizeMethod::awq ? 1 : 2;
    // Experts in one tensor come whole: weights, codes, what they decode to.
    const std::uint64_t stack = (4 + 1 + 1 + 4) * shape.stack;
    // A layer's matrices are kept as what they decode to.
    const std::uint64_t work = std::max(
        4 * shape.layer + std::max(4 * shape.piece * kCalibratedCopies, stack) +
            4 * streams * shape.moments,
        4 * ((1 + streams) * shape.layer + streams * shape.moments) +
            streams * activations(longest));
    most = std::max(
        most,
        streams * tokens * dim * 4 + shape.expert_moments + work);
  }
  if (options.method == QuantizeMethod::dwq) {
    // While codes are being found, those before are kept.
    most = std::max(
        most + shape.all,
        distillation_bytes(checkpoint, plan, options, shape));
  }
  if (quality_tokens > 0) {
    most = std::max(most, comparison_bytes(checkpoint, shape, quality_tokens));
  }
  return std::max(
      program_bytes(checkpoint) + most,
      kProgramBytes + vocab_of(checkpoint) * kReadingPerEntry);
}

std::uint64_t predict_sensitivity_memory(
    const Checkpoint& checkpoint,
    const FormatPlan& plan,
    const SensitivityOptions& options) {
  const Shape shape = shape_of(checkpoint, 0);
  const ModelSpec& spec = checkpoint.spec();
  const auto dim = static_cast<std::uint64_t>(spec.dim);
  std::uint64_t streams = 1;
  for (const auto& [name, format] : plan.formats) {
    streams += format.mode == QuantMode::keep ? 0 : 1;
  }
  std::uint64_t tokens = 0;
  std::uint64_t longest = 0;
  for (const auto& window : options.windows) {
    tokens += window.size();
    longest = std::max(longest, std::uint64_t{window.size()});
  }
  std::uint64_t calibration = 0;
  for (const auto& window : options.calibration) {
    calibration += window.size();
    longest = std::max(longest, std::uint64_t{window.size()});
  }
  const auto vocab = static_cast<std::uint64_t>(spec.vocab);
  // The source's, the rounded values, and the head that is made of them.
  const std::uint64_t head = 3 * 4 * shape.ends + 3 * 4 * longest * vocab;
  // The embedding, its pages, what it is rounded to (twice) and its codes; with
  // GPTQ what is left of it, and its slopes.
  const std::uint64_t embedding = ((options.gptq ? 6 : 4) * 4 + 1) * shape.ends;
  // Weights, what they are rounded to and on the way there, and the layer with
  // either.
  const std::uint64_t copies = options.gptq ? 6 : 3;
  const std::uint64_t layer = 4 * (2 * shape.layer + copies * shape.largest +
                                   (options.gptq ? 4 : 2) * shape.moments) +
                              activation_bytes(checkpoint, shape, longest);
  return program_bytes(checkpoint) +
         (streams * tokens + calibration) * dim * 4 +
         std::max({head, embedding, layer});
}

}  // namespace roofline
