// One decoder layer as MLX ops: norms, attention and feed-forward, joined to
// the residual stream as the LayerSpec says.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include <mlx/array.h>

#include "roofline/model/graph_feed_forward.h"
#include "roofline/model/graph_heads.h"
#include "roofline/model/graph_latent.h"
#include "roofline/model/graph_mixture.h"
#include "roofline/model/graph_norm.h"
#include "roofline/model/graph_per_layer.h"
#include "roofline/model/graph_recurrent.h"
#include "roofline/model/graph_streams.h"
#include "roofline/model/graph_types.h"

namespace roofline {

/// x + norm(up · down · x): what stands beside attention in some families.
class GraphTwin {
 public:
  /// prefix: "layers.3.twin.".
  GraphTwin(
      const NormSpec& norm,
      const std::string& prefix,
      const GraphWeights& weights,
      const GraphTypes& types);
  /// x: [tokens, dim], normed; the result has the residual stream's type.
  mx::array forward(const mx::array& x) const;
  std::size_t weight_bytes() const;

 private:
  GraphTypes types_;
  GraphMatrix down_, up_;
  GraphNorm norm_;
};

class GraphLayer {
 public:
  GraphLayer(
      const ModelSpec& model,
      int index,
      const GraphWeights& weights,
      const GraphTypes& types);

  /// x: the residual stream [tokens, dim], or streams [count, tokens, dim];
  /// returns it after this layer. own_input: the layer's own embeddings of the
  /// tokens [tokens, width], where the model has them.
  mx::array forward(
      const mx::array& x,
      const std::optional<mx::array>& own_input,
      std::vector<GraphSequence>& sequences);
  std::size_t weight_bytes() const;

 private:
  void make_norms(const std::string& prefix, const GraphWeights& weights);
  mx::array forward_streams(
      const mx::array& streams,
      const std::optional<mx::array>& own_input,
      std::vector<GraphSequence>& sequences);
  /// Attention and feed-forward on one stream.
  mx::array compute(const mx::array& x, std::vector<GraphSequence>& sequences);
  mx::array join(
      const mx::array& x,
      const mx::array& y,
      const std::optional<GraphNorm>& post_norm) const;
  mx::array attention(
      const mx::array& x,
      std::vector<GraphSequence>& sequences);
  mx::array mix(const mx::array& x, std::vector<GraphSequence>& sequences);
  mx::array feed_forward(const mx::array& x) const;
  /// The sum of a dense part and a mixture. x: the residual stream.
  mx::array feed_both(const mx::array& x) const;
  mx::array normed(const mx::array& x, const std::optional<GraphNorm>& norm)
      const;

  LayerSpec spec_;
  GraphTypes types_;
  std::optional<GraphNorm> attention_norm_, attention_post_norm_;
  std::optional<GraphNorm> feed_forward_norm_, feed_forward_post_norm_;
  /// At most one of the two.
  std::optional<GraphHeads> heads_;
  std::optional<GraphLatent> latent_;
  std::optional<GraphRecurrent> recurrent_;
  /// Both only where the mixture stands beside a dense part.
  std::optional<GraphFeedForward> dense_;
  std::optional<GraphMixture> mixture_;
  std::optional<GraphNorm> dense_post_norm_;
  std::optional<GraphNorm> mixture_norm_, mixture_post_norm_;
  std::optional<GraphTwin> twin_;
  std::optional<GraphPerLayer> per_layer_;
  std::optional<GraphStreamLayer> streams_;
  std::optional<mx::array> output_scalar_;
};

}  // namespace roofline
