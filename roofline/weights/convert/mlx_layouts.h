// What mlx-lm's layout asks of each family's weights: a row a family.
#pragma once

#include <string_view>

#include <nlohmann/json.hpp>

#include "roofline/weights/convert/expert_rows.h"

namespace roofline {

/// What is done to a family's weights, beyond dropping rotary buffers and a
/// tied head. Bits.
enum MlxRule : unsigned {
  kSameNames = 0,
  kStackExperts = 1,      ///< experts.E.X → switch_mlp.X, [experts, out, in]
  kTurnConvolutions = 2,  ///< [channels, 1, width] → [channels, width, 1]
  kNormPlusOne = 4,       ///< norm weights are stored as 1 + w
  kSplitExpertInput = 8,  ///< input_linear holds gate and up of all experts
  kTurnedLinears = 16,    ///< c_attn, c_proj and c_fc are [in, out]
  kModelPrefix = 32,      ///< names begin with "model."
  kDropPrediction = 64,   ///< layers that predict further tokens
  kLanguageModel = 128,   ///< names begin with "language_model."
  kSplitLatent = 256,     ///< kv_b_proj → embed_q and unembed_out, by head
  kNeoxNames = 512,       ///< gpt_neox.layers → model.h
  kInnerModel = 1024,     ///< names begin with "model.language_model."
  kFoldFactors = 2048,    ///< the config's multipliers go into the weights
  kDropSharedKv = 4096,   ///< layers that read others' keys have none
  kTurnedExperts = 8192,  ///< experts are [in, out], gate and up in turns
  kLetterNames = 16384,   ///< w1, w2, w3 → gate_proj, down_proj, up_proj
  kFusedDense = 32768,    ///< shared_mlp.input_linear, where no experts are
};

struct MlxLayout {
  std::string_view model_type;
  unsigned rules = kSameNames;
  ExpertNames experts = {};
};

/// Null where the layout isn't known.
const MlxLayout* find_mlx_layout(std::string_view model_type);

/// Of a config.json's model_type. Throws UnsupportedError where it isn't known.
const MlxLayout& mlx_layout_of(const nlohmann::json& config);

/// Every matrix of this family holds the rows there that it holds in Hugging
/// Face's layout, turned by no head and multiplied by nothing.
bool mlx_layout_keeps_rows(std::string_view model_type);

}  // namespace roofline
