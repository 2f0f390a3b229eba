// Alternating updates (arXiv 2301.13310) as MLX ops: several residual streams,
// of which a layer computes one; the others are predicted before it and
// corrected after it.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include <mlx/array.h>

#include "roofline/model/graph_norm.h"
#include "roofline/model/graph_types.h"

namespace roofline {

/// What stands before the first layer and after the last one.
class GraphStreams {
 public:
  GraphStreams(
      const ModelSpec& spec,
      const GraphWeights& weights,
      const GraphTypes& types);

  /// [tokens, dim] → [count, tokens, dim]
  mx::array split(const mx::array& x) const;
  /// [count, tokens, dim] → [tokens, dim]
  mx::array join(const mx::array& streams) const;
  std::size_t weight_bytes() const;

 private:
  GraphTypes types_;
  std::vector<GraphMatrix> in_, out_;
};

/// One layer's prediction and correction.
class GraphStreamLayer {
 public:
  /// prefix: "layers.3.streams.".
  GraphStreamLayer(
      const AlternatingStreams& spec,
      const NormSpec& norm,
      int dim,
      const std::string& prefix,
      const GraphWeights& weights,
      const GraphTypes& types);

  int active() const { return spec_.active; }
  /// streams, result: [count, tokens, dim].
  mx::array predict(const mx::array& streams) const;
  /// predictions: what predict() gave; computed: [tokens, dim], the active one
  /// after the layer.
  mx::array correct(const mx::array& predictions, const mx::array& computed)
      const;
  /// The active stream as the rest of the layer reads it.
  mx::array scaled(const mx::array& corrected) const;
  std::size_t weight_bytes() const;

 private:
  mx::array routed(const mx::array& x) const;

  AlternatingStreams spec_;
  int dim_;
  GraphTypes types_;
  GraphMatrix route_, predict_, correct_;
  GraphNorm route_norm_;
  std::optional<mx::array> output_scale_;
};

/// Stream `index` of [count, tokens, dim].
mx::array stream_at(const mx::array& streams, int index);

}  // namespace roofline
