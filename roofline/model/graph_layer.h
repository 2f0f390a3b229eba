// One decoder layer as MLX ops: norms, attention and feed-forward, joined to
// the residual stream as the LayerSpec says. Products run on the tokens of all
// sequences together, attention on each sequence alone.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <mlx/array.h>

#include "roofline/model/graph_attention.h"
#include "roofline/model/graph_rope.h"
#include "roofline/model/graph_weights.h"

namespace roofline {

/// In what the graph calculates.
struct GraphTypes {
  mx::Dtype activations = mx::float32;
  mx::Dtype residual = mx::float32;
  /// Fuse chains of small ops with mx::compile (it needs no compiler on a GPU).
  bool fuse = false;
};

/// One sequence's part of a step: rows [begin, begin + tokens) of the batch.
struct GraphSequence {
  KvCache* cache = nullptr;
  int begin = 0;
  int tokens = 0;
  std::int64_t position = 0;         ///< of the first of them
  std::int64_t sequence_tokens = 0;  ///< picks the rope regime
  SlotMasks masks;
};

class GraphNorm {
 public:
  /// input: the type of the x that will come, and of the stored weight.
  GraphNorm(
      const NormSpec& spec,
      const GraphWeights& weights,
      const std::string& name,
      mx::Dtype input);
  /// Normalizes the last axis; the result has type `output`.
  mx::array operator()(const mx::array& x, mx::Dtype output) const;
  std::size_t bytes() const;

 private:
  NormSpec spec_;
  std::optional<mx::array> weight_;
  std::optional<mx::array> bias_;
};

class GraphLayer {
 public:
  GraphLayer(
      const LayerSpec& spec,
      int index,
      const GraphWeights& weights,
      const GraphTypes& types);

  /// x: the residual stream [tokens, dim]; returns it after this layer.
  mx::array forward(const mx::array& x, std::vector<GraphSequence>& sequences);
  std::size_t weight_bytes() const;

 private:
  mx::array attention(
      const mx::array& x,
      std::vector<GraphSequence>& sequences);
  mx::array attend_one(
      const mx::array& q,
      const mx::array& k,
      const mx::array& v,
      GraphSequence& sequence);
  mx::array feed_forward(const mx::array& x) const;
  mx::array join(
      const mx::array& x,
      const mx::array& y,
      const std::optional<GraphNorm>& post_norm) const;

  LayerSpec spec_;
  int index_;
  GraphTypes types_;
  std::optional<GraphNorm> attention_norm_, attention_post_norm_;
  std::optional<GraphNorm> feed_forward_norm_, feed_forward_post_norm_;
  std::optional<GraphNorm> q_norm_, k_norm_;
  GraphMatrix qkv_, output_, up_, down_;  ///< up_: gate and up when gated
  std::optional<GraphRope> rope_;
  std::function<std::vector<mx::array>(const std::vector<mx::array>&)>
      activate_;
};

}  // namespace roofline
