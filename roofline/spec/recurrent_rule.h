// How a family's config.json describes its recurrent layers: under which names
// it has the numbers, what absent ones mean, and which layers they are.
#pragma once

#include <optional>
#include <string_view>

#include "roofline/spec/model_spec.h"

namespace roofline {

/// A number that a config has under one of two names.
struct SizeField {
  std::string_view name = {};
  std::string_view other_name = {};
  int absent = 0;  ///< 0: it must be there
};

/// A flag that a config has under one of two names; without any it is `absent`.
struct SwitchField {
  std::string_view name = {};
  std::string_view other_name = {};
  bool absent = false;
};

/// Which layers have which parts.
enum class MixerLayers {
  all_recurrent,  ///< and nothing else: no attention, no feed-forward part
  side_by_side,   ///< attention and recurrence in each
  listed,         ///< one of them in each, as a list says
  one_part,       ///< one part in each: also feed-forward parts alone
};

struct RecurrentRule {
  RecurrentKind kind = RecurrentKind::mamba2;
  MixerLayers layers = MixerLayers::listed;
  /// "full_attention_interval" when absent: every so many-th layer has
  /// attention where there is no list. 0: there is no such field.
  int attention_interval = 0;
  /// Without a list, "full_attn_idxs" tells the layers with attention: all when
  /// absent. Else all are recurrent.
  bool attention_indices = false;

  SizeField heads = {};
  SizeField head_dim = {};
  SizeField groups = {};
  SizeField state_dim = {};
  SizeField conv_width = {};
  SwitchField conv_bias = {};
  SwitchField input_bias = {};
  SwitchField output_bias = {};
  std::string_view activation_field = "hidden_act";
  bool rows_by_key_head = false;

  /// mamba2: heads · head_dim where head_dim is absent or "auto": this field,
  /// or else `expand` times the model's dims.
  std::string_view inner_field = {};
  SizeField expand = {};
  /// The two must agree where both are given.
  bool inner_is_checked = false;
  std::optional<SwitchField> output_norm = std::nullopt;  ///< absent: always
  std::optional<SwitchField> norm_before_gate = std::nullopt;  ///< absent: no
  /// Bounds of a step: both in a list, or the lower one alone.
  std::string_view step_limits = {};
  std::string_view step_min = {};
  std::string_view other_step_min = {};
  float step_min_absent = 0.0f;

  /// Reads the factors on parts of a layer, of the embedding and the logits.
  bool part_multipliers = false;
  /// The attention of other layers has its values gated.
  bool gated_attention = false;
  /// In GGUF files value heads take turns (RecurrentSpec::key_heads_tiled).
  bool gguf_tiled = false;
  /// Positions need "position_embedding_type" to be "rope".
  bool rope_by_type = false;
  /// The feed-forward width is cut to two thirds, scaled and rounded up.
  bool adjusted_hidden = false;
};

}  // namespace roofline
