// What a model has that not all of mlx-lm's models of its family have: each is
// a bit, found in the ModelSpec. mlx_lm.cpp says which of them a family's
// model takes.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "roofline/spec/model_spec.h"

namespace roofline {

enum class MlxFeature : std::uint8_t {
  windows,
  windows_everywhere,
  windows_nowhere,  ///< in a family that has some
  uneven_windows,
  bases_of_windows,
  unscaled_rope,
  linear_rope,
  dynamic_rope,
  llama3_rope,
  yarn_rope,
  long_rope,
  stretched_base,
  yarn_magnitude,
  yarn_whole,  ///< "truncate": false
  partial_rotation,
  other_rotation,  ///< another share than the family's own
  layers_without_rope,
  growing_queries,
  half_split_latent,
  qkv_bias,
  no_qkv_bias,
  output_bias,
  no_output_bias,
  dense_bias,
  no_dense_bias,
  head_bias,
  no_head_bias,
  tied_head,
  own_head,
  activation,
  qk_norm,
  no_qk_norm,
  qk_norm_by_head,
  wide_heads,
  score_scale,
  score_cap,
  no_score_cap,
  logit_cap,
  no_logit_cap,
  clip,
  swiglu_limit,
  factor_on_keys,
  parallel_parts,
  serial_parts,
  odd_hidden,
  wide_shared_kv,
  keys_as_values,
  low_rank_queries,
  direct_queries,
  dense_first,
  dense_elsewhere,
  dense_only,
  raw_weights,  ///< experts' weights as they are
  sum_of_weights,
  expert_groups,
  shared_experts,
  no_shared_experts,
  sparsemixer,
  selection_bias,
  latent_experts,
  conv_bias,
  no_conv_bias,
  input_bias,
  recurrence_bias,
  norm_by_group,
  no_recurrent_norm,
  norm_before_gate,
  step_bounds,
  uneven_recurrence,
  recurrence_only,
  attention_only,
  count_,
};

/// The family of a config's language model; "" where it names none.
std::string language_family(const nlohmann::json& config);

/// Sorted as above. config: as it is written.
std::vector<MlxFeature> mlx_features(
    const ModelSpec& spec,
    const nlohmann::json& config);

/// In words: "attention windows".
std::string_view words_of(MlxFeature feature);

}  // namespace roofline
