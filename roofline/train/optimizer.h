// Optimizers on plain memory: each updates float32 weights in place from their
// gradient and keeps its state in buffers that can be saved and restored.
// Sources: Adam arXiv 1412.6980, AdamW 1711.05101, Lion 2302.06675, Adafactor
// 1804.04235, Muon (K. Jordan 2024), 8-bit states 2110.02861.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace roofline {

enum class OptimizerName { adamw, adam, sgd, lion, adafactor, muon, adamw8 };

/// "adamw", … Throws UserError with the nearest name for an unknown one.
OptimizerName parse_optimizer(std::string_view name);
std::string_view optimizer_name(OptimizerName name);

struct OptimizerOptions {
  OptimizerName name = OptimizerName::adamw;
  float beta1 = 0.9f;
  float beta2 = 0.999f;
  float eps = 1e-8f;
  float weight_decay = 0.0f;
  float momentum = 0.0f;  ///< sgd
};

/// A weight matrix [rows, cols], or a vector with rows == 1.
struct TrainedShape {
  std::size_t rows = 1;
  std::size_t cols = 0;

  std::size_t size() const { return rows * cols; }
};

/// Named memory of an optimizer's state.
struct StateBuffer {
  std::string name;
  std::span<std::byte> bytes;
};

class Optimizer {
 public:
  static std::unique_ptr<Optimizer> make(
      const OptimizerOptions& options,
      const std::vector<TrainedShape>& shapes);
  virtual ~Optimizer() = default;

  /// One step: step counts from 1. weights, gradients: one span a shape.
  virtual void update(
      std::span<const std::span<float>> weights,
      std::span<const std::span<const float>> gradients,
      float learning_rate,
      std::int64_t step) = 0;
  /// All of the state, to be saved, or written over when a run is resumed.
  virtual std::vector<StateBuffer> state() = 0;
};

/// Scales all gradients together so that their common norm is at most
/// max_norm (0: never). Returns the norm before. Sums in double.
double clip_gradients(
    std::span<const std::span<float>> gradients,
    double max_norm);

}  // namespace roofline
