// How a family's config.json describes its mixture of experts: which fields
// hold the numbers, what absent ones mean, and how the router weighs.
#pragma once

#include <array>
#include <optional>
#include <string_view>

#include "roofline/spec/model_spec.h"

namespace roofline {

/// Which layers have experts; the others have a dense part.
enum class ExpertLayers {
  all,
  past_first,  ///< from the one that a field says on
  stepped,     ///< by "decoder_sparse_step", but those of "mlp_only_layers"
  listed,      ///< those that a list calls so (recurrent_rule.h)
  between,     ///< by "moe_layer_start_index", "…_end_index", "…_interval"
};

/// The width of the expert that every token takes.
enum class SharedExpert {
  none,
  counted,  ///< so many times a routed expert's
  sized,    ///< the field itself
};

/// A field that says in words what the family does anyway.
struct FixedField {
  std::string_view name;
  std::string_view value;  ///< as JSON, strings without quotes; "a|b": either
};

struct MixtureRule {
  /// Fields of the number of experts and of those chosen; the second one is
  /// another name for the first. Defaults when absent; 0: they must be there.
  std::array<std::string_view, 2> experts_fields = {};
  int experts = 0;
  std::array<std::string_view, 2> top_k_fields = {"num_experts_per_tok"};
  int top_k = 0;
  std::string_view hidden_field = "moe_intermediate_size";
  int hidden = 0;

  ExpertScore score = ExpertScore::softmax;
  /// What "norm_topk_prob" is when absent, or for want of such a field.
  bool renormalise = true;
  bool renormalise_field = false;
  bool renormalise_field_ignored = false;  ///< as the reference does
  /// In a GGUF file without the key; absent: as `renormalise`.
  std::optional<bool> gguf_renormalise = std::nullopt;
  std::string_view least_sum_field = {};
  float least_sum = 0.0f;
  /// "routed_scaling_factor" when absent; absent: there is no such field.
  std::optional<float> scale = std::nullopt;
  bool selection_bias = false;
  std::string_view selection_bias_field = {};  ///< a flag; absent: it is there
  bool router_bias = false;
  bool expert_bias = false;
  /// Files that stack gate and up have them in turns, and floats transposed.
  bool interleaved = false;
  /// "n_group" and "topk_group" when absent; 0: there are no such fields.
  int groups = 0;
  int top_groups = 0;
  GroupScore group_score = GroupScore::best;
  /// Groups count where "topk_method" is "group_limited_greedy".
  bool groups_by_method = false;

  SharedExpert shared = SharedExpert::none;
  std::string_view shared_field = {};
  int shared_size = 0;  ///< when absent
  bool shared_gate = false;

  std::string_view latent_field = {};  ///< of the experts' own dims

  ExpertLayers layers = ExpertLayers::all;
  int first_layer = 0;  ///< when absent
  std::string_view first_layer_field = "first_k_dense_replace";

  /// A flag without which there are no experts; empty: there are.
  std::string_view enabled_by = {};
  bool beside_dense = false;  ///< FeedForwardSpec::mixture_beside_dense
  bool router_norm = false;
  bool expert_scale = false;

  std::array<FixedField, 6> fixed = {};
};

}  // namespace roofline
