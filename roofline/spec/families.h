// The families of models that Roofline reads: a family is a row of data that
// says how its config.json or GGUF metadata becomes a ModelSpec. Nothing past
// the readers looks at these rows, but for the names of packed tensors.
// Facts are those of the models' reference implementation, defaults of absent
// fields included.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "roofline/spec/model_spec.h"

namespace roofline {

enum class BiasRule {
  none,
  field,  ///< "attention_bias": q, k, v and the output projection
  qkv_always,
};

enum class ScaleRule {
  head_dim,      ///< 1/√head_dim
  query_scalar,  ///< 1/√query_pre_attn_scalar
  multiplier,    ///< attention_multiplier itself
};

/// Which layers have a window where the config has no "layer_types".
enum class WindowRule {
  none,
  all,
  past_first,    ///< layers from max_window_layers on
  pattern,       ///< all but every window_pattern-th
  without_rope,  ///< the layers without positions
};

/// Sizes of a config that leaves them out; 0: it must not.
struct DefaultSizes {
  int dim = 0;
  int hidden = 0;
  int layers = 0;
  int heads = 0;
  int vocab = 0;
};

struct Family {
  std::string_view name = {};  ///< model_type
  std::string_view gguf_name =
      {};  ///< general.architecture; empty: no such files

  NormPlacement norm_placement = NormPlacement::pre;
  bool norm_plus_one = false;
  double norm_eps = 1e-6;

  QkNorm qk_norm = QkNorm::none;
  BiasRule bias = BiasRule::none;
  int kv_heads = 0;  ///< when absent; 0: as many as heads
  int head_dim = 0;  ///< when absent; 0: dim / heads
  ScaleRule scale = ScaleRule::head_dim;
  WindowRule window = WindowRule::none;
  std::optional<int> window_tokens = std::nullopt;  ///< when absent
  int window_pattern = 0;                           ///< when absent
  bool layer_types = false;                         ///< reads "layer_types"
  bool window_switch = false;  ///< a window needs "use_sliding_window"
  bool attention_softcap_field = false;
  std::optional<float> attention_softcap = std::nullopt;  ///< when absent
  bool logit_softcap_field = false;
  std::optional<float> logit_softcap = std::nullopt;  ///< when absent

  double rope_theta = 10000.0;  ///< when absent
  /// Sliding layers have a base of their own, and no scaling.
  std::optional<double> local_rope_theta = std::nullopt;
  int no_rope_interval = 0;     ///< every so many-th layer has no rope
  bool partial_rotary = false;  ///< reads "partial_rotary_factor"
  /// Reads "su" and "yarn" as longrope, whose original context is the field
  /// beside the scaling, this one when absent.
  std::optional<int> longrope_original_context = std::nullopt;

  Activation activation = Activation::silu;  ///< when absent
  std::string_view activation_field = "hidden_act";
  bool gelu_means_tanh = false;          ///< old files say "gelu" for it
  bool feed_forward_bias_field = false;  ///< reads "mlp_bias"

  bool tied = false;  ///< when absent
  bool embedding_scale_sqrt_dim = false;
  bool multipliers =
      false;  ///< embedding_, residual_multiplier, logits_scaling
  int context_tokens = 2048;  ///< when absent
  DefaultSizes sizes = {};

  RopeLayout gguf_rope_layout = RopeLayout::half_split;
  /// "ffn_up" holds the gate's rows, then those of up.
  bool gguf_packed_gate_up = false;
  WindowRule gguf_window = WindowRule::none;
  std::optional<int> gguf_window_tokens = std::nullopt;  ///< when absent
  /// The model of so many layers scales its scores by 1/√(dim / heads).
  int gguf_wide_scale_layers = 0;
};

/// All families, sorted by name.
std::span<const Family> families();
/// nullptr when there is none of that name.
const Family* find_family(std::string_view name);
const Family* find_gguf_family(std::string_view architecture);
/// Sorted; each once.
std::vector<std::string> gguf_architectures();

/// True for a field that no family needs to know: it doesn't change logits.
bool is_harmless_field(std::string_view name);

}  // namespace roofline
