#include "roofline/spec/mlx_folding.h"

#include <algorithm>

#include "roofline/spec/spec_agreement.h"

namespace roofline {

namespace {

/// The norms' weights hold their one.
void unfold_norms(ModelSpec& spec) {
  spec.final_norm.plus_one = false;
  for (LayerSpec& layer : spec.layers) {
    layer.norm.plus_one = false;
  }
}

void unfold_layer(LayerSpec& layer) {
  RecurrentSpec& recurrent = *layer.recurrent;
  recurrent.part_scales.clear();
  recurrent.input_scale = 1.0f;
  recurrent.output_scale = 1.0f;
  // It scales queries and keys, but not values, by the input's factor, and the
  // output's own; keys keep theirs.
  layer.attention_output_scale = layer.attention_input_scale;
  layer.attention_input_scale = 1.0f;
  if (layer.feed_forward) {
    layer.feed_forward->gate_scale = 1.0f;
    layer.feed_forward->output_scale = 1.0f;
  }
}

}  // namespace

void unfold_mlx_factors(ModelSpec& spec) {
  unfold_norms(spec);
  bool folds = false;
  for (LayerSpec& layer : spec.layers) {
    if (layer.attention && layer.recurrent) {
      unfold_layer(layer);
      folds = true;
    }
  }
  if (!folds) {
    return;
  }
  // A tied head is the embedding with its factor.
  spec.logit_scale =
      spec.tied_embeddings ? spec.logit_scale / spec.embedding_scale : 1.0f;
  spec.embedding_scale = 1.0f;
}

bool is_unfolded(const ModelSpec& spec) {
  const bool recurrent = std::any_of(
      spec.layers.begin(),
      spec.layers.end(),
      [](const LayerSpec& layer) { return layer.recurrent.has_value(); });
  ModelSpec folded = spec;
  unfold_mlx_factors(folded);
  return recurrent && (spec.layers[0].norm.plus_one ||
                       spec_difference(spec, folded).has_value());
}

}  // namespace roofline
