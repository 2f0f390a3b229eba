// Families whose shapes are known but which can't be run: enough of their
// config.json is read to count every weight and every byte of state. Fields
// that only change the arithmetic are not looked at, and a spec made here is
// marked as one for planning.
#pragma once

#include <span>
#include <string_view>

#include "roofline/spec/fields.h"
#include "roofline/spec/model_spec.h"

namespace roofline {

/// Facts of a family that its config.json doesn't tell.
struct PlannedFamily {
  std::string_view name = {};  ///< model_type
  NormPlacement norm_placement = NormPlacement::pre;
  NormKind norm_kind = NormKind::rms;
  bool norm_bias = false;
  QkNorm qk_norm = QkNorm::none;
  bool qk_norm_field = false;  ///< only where "use_qk_norm" is true
  bool qkv_bias = false;       ///< always, or by a field
  bool output_bias = false;    ///< as qkv_bias
  bool bias = false;           ///< of the feed-forward part and of experts
  Activation activation = Activation::silu;
  bool gated = true;
  bool tied = false;  ///< when absent
  bool learned_positions = false;
  bool sinks = false;
  bool output_gate = false;
  bool router_bias = false;
  bool shared_gate = false;
  /// The shared expert is as wide as a routed one, without a field for it.
  bool shared_like_expert = false;
  ExpertScore score = ExpertScore::softmax;
  bool selection_bias = false;
  int window_pattern = 0;  ///< every so many-th layer sees all; 0: no windows
  bool all_windowed = false;
  /// What most layers are where the config lists none.
  bool recurrent = false;
  RecurrentKind recurrent_kind = RecurrentKind::mamba2;
  bool side_by_side = false;        ///< attention and recurrence in each layer
  int full_attention_interval = 0;  ///< when absent
};

std::span<const PlannedFamily> planned_families();
/// nullptr when there is none of that name.
const PlannedFamily* find_planned_family(std::string_view name);

/// Throws CheckpointError for sizes that can't be.
ModelSpec read_planned(Fields& config, const PlannedFamily& family);

}  // namespace roofline
