// The class behind load_graph_decoder() and load_trainable(): what answers is
// in graph_decoder.cpp, what trains in graph_training.cpp.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <mlx/array.h>
#include <mlx/device.h>

#include "roofline/model/graph_attention.h"
#include "roofline/model/graph_head.h"
#include "roofline/model/graph_layer.h"
#include "roofline/model/graph_weights.h"
#include "roofline/model/trainable_decoder.h"

namespace roofline {

/// All that loading depends on, for answering and for training.
struct GraphLoadOptions {
  bool exact = false;
  GraphWeightOptions weights;
  KvFormat kv = {};
  std::optional<mx::Dtype> activations = {};  ///< of a GPU; absent: as stored
  AttentionBy attention = AttentionBy::ops;
};

/// The ids of all slices, one after the other: [tokens], int32.
mx::array token_ids(std::span<const Slice> slices);

/// When the layers of a step are computed: with the logits, each before the
/// next is begun, or in lots of which two are under way (step_memory.h).
enum class EvalLayers { together, one_by_one, in_lots };

class GraphDecoder final : public TrainableDecoder {
 public:
  GraphDecoder(
      const Checkpoint& checkpoint,
      GraphLoadOptions options,
      mx::Device device);

  const ModelSpec& spec() const override { return spec_; }
  std::string device_name() const override;
  std::unique_ptr<KvCache> make_cache(const KvOptions& options) const override;
  mx::array forward(std::span<const Slice> slices, std::int64_t context_tokens)
      override;
  bool takes_drawn() const override { return true; }
  std::size_t step_weight_bytes(bool all_logits) const override;
  mx::array hidden(const TrainBatch& batch, KeepLayers keep) override;
  TokenHead token_head() const override;
  const GraphHooks& hooks() const override { return weights_.hooks(); }

 private:
  struct Samples;
  bool can_pack() const;
  void check_ids(std::span<const std::int32_t> ids) const;
  Samples open_samples(
      std::span<const std::int32_t> ids,
      std::span<const int> first) const;
  mx::array layer_again(
      std::size_t index,
      const mx::array& x,
      const TrainBatch& batch);
  GraphTypes pick_types(
      const Checkpoint& checkpoint,
      const GraphLoadOptions& options) const;
  void check(std::span<const Slice> slices) const;
  mx::array embed(
      const mx::array& tokens,
      const std::vector<GraphSequence>& sequences) const;
  mx::array embed_positions(const std::vector<GraphSequence>& sequences) const;
  mx::array run_layers(
      const mx::array& tokens,
      std::vector<GraphSequence>& sequences,
      EvalLayers eval = EvalLayers::together);
  std::vector<mx::array> made_by_layer(
      int index,
      const mx::array& x,
      const std::vector<GraphSequence>& sequences) const;
  mx::array pick_rows(const mx::array& x, std::span<const Slice> slices) const;
  mx::array head_logits(const mx::array& rows) const;
  mx::array logits(const mx::array& x) const;
  void check_again() const;
  mx::array with_states(const mx::array& logits, std::span<const Slice> slices)
      const;
  void warm_up();

  ModelSpec spec_;
  mx::Device device_;
  bool exact_;
  KvFormat kv_;
  GraphTypes types_;
  GraphWeights weights_;
  GraphMatrix embed_;
  std::optional<GraphMatrix> head_;     ///< absent: tied
  std::optional<mx::array> head_bias_;  ///< of a tied head; else in head_
  std::optional<GraphMatrix> positions_;
  std::optional<GraphPerLayerEmbedding> per_layer_;
  std::optional<GraphStreams> streams_;
  GraphNorm final_norm_;
  std::vector<GraphLayer> layers_;
};

}  // namespace roofline
