// A decoder that can be trained: its last hidden rows as a differentiable graph
// over what the hooks hold, and its head for a loss that needn't have all
// logits at once.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "roofline/kernels/linear.h"
#include "roofline/kernels/token_loss/token_loss.h"
#include "roofline/model/decoder.h"
#include "roofline/model/graph_hooks.h"

namespace roofline {

/// Samples that lie one after the other, without padding.
struct TrainBatch {
  std::span<const std::int32_t> ids;
  /// Each sample's first row, then the number of rows.
  std::span<const int> first;
};

enum class KeepLayers { all, none };

/// Whether KeepLayers::none works: not where layers share keys and values,
/// streams or embeddings of their own.
bool can_run_layers_again(const ModelSpec& spec);

class TrainableDecoder : public Decoder {
 public:
  /// The rows after the final norm, [tokens, dim] float32. KeepLayers::none:
  /// a layer's inner values are computed again for the gradient.
  virtual mx::array hidden(const TrainBatch& batch, KeepLayers keep) = 0;
  virtual TokenHead token_head() const = 0;
  /// Of every weight that the graph looks for in its hook.
  virtual const GraphHooks& hooks() const = 0;

  /// Where the weights are from, if they are from one that nothing else keeps.
  std::shared_ptr<const Checkpoint> own_checkpoint = {};
};

struct TrainableOptions {
  DeviceChoice device = DeviceChoice::automatic;
  std::optional<QuantizeChoice> quantize = {};
  /// Names of weights that are trained themselves; see GraphWeightOptions.
  std::function<bool(std::string_view)> trained = {};
  /// Codes whose scales are trained; see GraphWeightOptions.
  std::function<std::shared_ptr<const TrainedCodes>(std::string_view)> codes =
      {};
  /// Products of quantized matrices as when answering, or exact.
  LinearMode products = LinearMode::exact;
  /// On a GPU: bfloat16 between the weights instead of float32.
  bool half_activations = false;
  /// MLX's ops on the CPU too, as on a GPU: for comparing.
  bool graph_on_cpu = false;
};

/// `checkpoint` must outlive the decoder. Throws what Decoder::load throws.
std::unique_ptr<TrainableDecoder> load_trainable(
    const Checkpoint& checkpoint,
    const TrainableOptions& options);

}  // namespace roofline
