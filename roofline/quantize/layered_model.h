// A model that is run one layer at a time, all windows of a text through one
// layer before the next is loaded: no more than one layer's weights and the
// text's residual stream are in memory. Calculates in float32.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include <mlx/array.h>

#include "roofline/model/graph_layer.h"
#include "roofline/model/graph_weights.h"
#include "roofline/quantize/codes.h"
#include "roofline/weights/checkpoint.h"

namespace roofline {

class LayeredModel {
 public:
  /// Throws UnsupportedError where a layer is more than a function of its
  /// input: shared keys, streams, embeddings of each layer's own.
  explicit LayeredModel(const ModelSpec& spec);

  /// Loads one layer. observe, observe_experts: told of its products
  /// (graph_weights.h).
  GraphLayer layer(
      const Checkpoint& checkpoint,
      int index,
      const LinearObserver& observe = {},
      const ExpertObserver& observe_experts = {}) const;

  /// The residual stream before the first layer: [tokens, dim], evaluated.
  mx::array embed(
      const Checkpoint& checkpoint,
      std::span<const std::int32_t> ids) const;

  /// The same of rows that were looked up elsewhere: [tokens, dim].
  mx::array embed_rows(const Checkpoint& checkpoint, mx::array x) const;

  /// One window from its start through a layer; not evaluated.
  mx::array run(GraphLayer& layer, const mx::array& x);

  /// What turns the last layer's output into logits. Its matrix is loaded by
  /// the first that asks for logits.
  class Head {
   public:
    /// Both must outlive it.
    Head(const ModelSpec& spec, const Checkpoint& checkpoint);
    /// The name of its matrix.
    const char* name() const {
      return spec_.tied_embeddings ? "embed" : "head";
    }
    /// x: [tokens, dim]; float32 [tokens, vocab], not evaluated.
    mx::array logits(const mx::array& x) const;
    /// What the head's matrix is multiplied with: [tokens, dim].
    mx::array normed(const mx::array& x) const;
    /// Of a piece of the vocabulary: rows are the matrix's from row `first` on,
    /// decoded. normed: [tokens, dim]; float32 [tokens, rows], not evaluated.
    mx::array logits_of_rows(
        const mx::array& normed,
        std::shared_ptr<const FloatMatrix> rows,
        int first) const;

   private:
    const ModelSpec& spec_;
    const Checkpoint& checkpoint_;
    GraphNorm norm_;
    mutable std::optional<GraphMatrix> matrix_;
    std::optional<mx::array> bias_;  ///< an untied head's is in matrix_, too
  };

 private:
  const ModelSpec& spec_;
  bool packs_ = false;            ///< attention needs no cache
  std::optional<KvCache> cache_;  ///< of one window, used again
};

}  // namespace roofline
