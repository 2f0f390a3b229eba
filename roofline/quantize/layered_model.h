// A model that is run one layer at a time, all windows of a text through one
// layer before the next is loaded: no more than one layer's weights and the
// text's residual stream are in memory. Calculates in float32.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include <mlx/array.h>

#include "roofline/model/graph_layer.h"
#include "roofline/model/graph_weights.h"
#include "roofline/quantize/codes.h"
#include "roofline/weights/checkpoint.h"

namespace roofline {

/// A window of the text on its way through the layers, and what later ones ask
/// for beside it.
struct LayeredWindow {
  /// [tokens, dim], or streams [count, tokens, dim].
  mx::array x;
  /// The layers' own embeddings [tokens, layers · width], where there are any.
  std::optional<mx::array> own_inputs = {};
  struct KeysAndValues {
    mx::array keys, values;
  };
  /// Of layers whose keys and values others read.
  std::map<int, KeysAndValues> shared = {};

  int tokens() const { return x.shape(-2); }
};

class LayeredModel {
 public:
  explicit LayeredModel(const ModelSpec& spec);

  /// Loads one layer. observe, observe_experts: told of its products
  /// (graph_weights.h).
  GraphLayer layer(
      const Checkpoint& checkpoint,
      int index,
      const LinearObserver& observe = {},
      const ExpertObserver& observe_experts = {}) const;

  /// What stands before the first layer.
  class Start {
   public:
    /// Both must outlive it.
    Start(const ModelSpec& spec, const Checkpoint& checkpoint);
    /// A window before the first layer, evaluated.
    LayeredWindow embed(std::span<const std::int32_t> ids) const;
    /// The same with rows [tokens, dim] that were looked up elsewhere.
    LayeredWindow embed_rows(std::span<const std::int32_t> ids, mx::array rows)
        const;

   private:
    const ModelSpec& spec_;
    const Checkpoint& checkpoint_;
    std::optional<GraphPerLayerEmbedding> per_layer_;
    std::optional<GraphStreams> streams_;
  };

  /// The window behind a layer, which reads it from its start; not evaluated.
  LayeredWindow run(GraphLayer& layer, int index, const LayeredWindow& window);

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
    /// x: what leaves the last layer; float32 [tokens, vocab], not evaluated.
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
    std::optional<GraphStreams> streams_;
    mutable std::optional<GraphMatrix> matrix_;
    std::optional<mx::array> bias_;  ///< an untied head's is in matrix_, too
  };

 private:
  const ModelSpec& spec_;
  std::set<int> shared_;          ///< layers whose keys others read
  bool packs_ = false;            ///< attention needs no cache
  std::optional<KvCache> cache_;  ///< of one window, used again
};

}  // namespace roofline
