// A recurrent layer part as MLX ops: input projection, causal convolution over
// the last few tokens, recurrence (graph_scans.h), gate, normalization, output
// projection. Products run on the tokens of all sequences together, the rest on
// each sequence alone, from the state in its cache, which it replaces.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include <mlx/array.h>

#include "roofline/model/graph_activation.h"
#include "roofline/model/graph_types.h"
#include "roofline/model/graph_weights.h"

namespace roofline {

class GraphRecurrent {
 public:
  /// index: of the layer. eps: of the output's normalization.
  GraphRecurrent(
      const RecurrentSpec& spec,
      float eps,
      int index,
      const GraphWeights& weights);

  /// x: [tokens, dim] after the layer's norm; the same shape and type comes
  /// out.
  mx::array forward(
      const mx::array& x,
      const std::vector<GraphSequence>& sequences) const;
  std::size_t weight_bytes() const;

 private:
  struct Parts;
  mx::array run(const mx::array& projected, RecurrentState& state) const;
  mx::array convolve(const mx::array& inputs, RecurrentState& state) const;
  mx::array run_mamba2(const Parts& parts, RecurrentState& state) const;
  mx::array run_gated_delta(const Parts& parts, RecurrentState& state) const;
  mx::array run_short_conv(const mx::array& projected, RecurrentState& state)
      const;
  Parts split_mamba2(const mx::array& projected) const;
  Parts split_gated_delta(const mx::array& projected) const;
  mx::array gated(const mx::array& y, const mx::array& z) const;

  RecurrentSpec spec_;
  float eps_;
  int index_;
  GraphFunction activate_;
  GraphMatrix in_;
  GraphMatrix out_;
  mx::array conv_;                      ///< [conv_width, conv_channels]
  std::optional<mx::array> conv_bias_;  ///< [conv_channels]
  std::optional<mx::array> scales_;     ///< on the projection's columns
  std::optional<mx::array> decay_;      ///< [heads], below 0
  std::optional<mx::array> step_bias_;  ///< [heads]
  std::optional<mx::array> skip_;       ///< [heads, 1]
  std::optional<mx::array> norm_;
};

}  // namespace roofline
