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

#include "roofline/spec/mixture_rule.h"
#include "roofline/spec/model_spec.h"
#include "roofline/spec/recurrent_rule.h"

namespace roofline {

/// A flag that a config has under `field`, and what its absence means. Without
/// a field it is always so.
struct FlagRule {
  std::string_view field = {};
  bool absent = false;
};

/// Some layers are parallel, others not, by a flag.
struct ParallelRule {
  FlagRule flag;
  NormPlacement parallel = NormPlacement::parallel;
};

enum class ScaleRule {
  head_dim,      ///< 1/√head_dim
  query_scalar,  ///< 1/√query_pre_attn_scalar
  multiplier,    ///< attention_multiplier itself
  one,
  /// 1/√head_dim unless "scale_attn_weights" is false, over the layer's number
  /// where "scale_attn_by_inverse_layer_idx" is true.
  flags,
};

/// Which layers have a window where the config has no "layer_types".
enum class WindowRule {
  none,
  all,
  past_first,        ///< layers from max_window_layers on
  pattern,           ///< all but every window_pattern-th
  without_rope,      ///< the layers without positions
  even_below_first,  ///< every other one, of those below max_window_layers
};

/// Which layers have positions.
enum class RopeRule {
  all,
  windowed_only,
  windowed_if_any,  ///< those with a window; all of a model without one
  none,
};

/// Under which names a config has its sizes. The usual ones are read too.
struct SizeNames {
  std::string_view dim = "hidden_size";
  std::string_view hidden = "intermediate_size";
  std::string_view layers = "num_hidden_layers";
  std::string_view heads = "num_attention_heads";
  std::string_view context = "max_position_embeddings";
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

  std::string_view gguf_other_name = {};

  NormPlacement norm_placement = NormPlacement::pre;
  std::optional<ParallelRule> parallel_rule = std::nullopt;
  NormKind norm_kind = NormKind::rms;
  bool norm_bias = false;
  bool norm_affine = true;
  bool norm_plus_one = false;
  std::string_view norm_eps_field = "rms_norm_eps";  ///< empty: not a field
  double norm_eps = 1e-6;

  QkNorm qk_norm = QkNorm::none;
  FlagRule qk_norm_rule = {"", true};  ///< whether there is one
  QkNormPlace qk_norm_place = QkNormPlace::before_rope;
  bool qk_norm_bias = true;  ///< where the layer's norms have one
  FlagRule qkv_bias = {};
  FlagRule output_bias = {};
  FlagRule feed_forward_bias = {};
  FlagRule head_bias = {};
  bool value_norm = false;
  bool attention_output_norm = false;
  bool hidden_norm = false;
  std::string_view clip_field = {};
  int kv_heads = 0;             ///< when absent; 0: as many as heads
  bool shared_kv_heads = true;  ///< reads "num_key_value_heads"
  int head_dim = 0;             ///< when absent; 0: dim / heads
  ScaleRule scale = ScaleRule::head_dim;
  WindowRule window = WindowRule::none;
  std::optional<int> window_tokens = std::nullopt;  ///< when absent
  int window_pattern = 0;                           ///< when absent
  int window_first = 28;       ///< "max_window_layers" when absent
  bool layer_types = false;    ///< reads "layer_types"
  bool last_sees_all = false;  ///< the last layer, whatever is said of it
  bool window_switch = false;  ///< a window needs "use_sliding_window"
  bool attention_softcap_field = false;
  std::optional<float> attention_softcap = std::nullopt;  ///< when absent
  bool logit_softcap_field = false;
  std::optional<float> logit_softcap = std::nullopt;  ///< when absent

  RopeRule rope = RopeRule::all;
  RopeLayout rope_layout = RopeLayout::half_split;
  std::string_view rope_theta_field = "rope_theta";
  double rope_theta = 10000.0;  ///< when absent
  /// "rope_parameters" where there are neither these nor a "rope_scaling".
  std::string_view rope_parameters = {};
  /// Sliding layers have a base of their own, and no scaling.
  std::optional<double> local_rope_theta = std::nullopt;
  int no_rope_interval = 0;     ///< every so many-th layer has no rope
  bool partial_rotary = false;  ///< reads the share of dims that rotate
  std::string_view partial_rotary_field = "partial_rotary_factor";
  /// Reads "rotary_dim", dims instead of a share of them.
  bool rotary_dim_field = false;
  double partial_rotary_share = 1.0;  ///< when absent
  /// "dynamic" with an "alpha" stretches the base once for all lengths.
  bool ntk_alpha = false;
  bool query_temperature = false;  ///< reads "llama_4_scaling_beta"
  /// Reads "su" and "yarn" as longrope, whose original context is the field
  /// beside the scaling, this one when absent.
  std::optional<int> longrope_original_context = std::nullopt;
  /// longrope has "short_mscale" and "long_mscale", and the short factors at
  /// all lengths.
  bool longrope_magnitudes = false;

  Activation activation = Activation::silu;  ///< when absent
  std::string_view activation_field = "hidden_act";
  bool gelu_means_tanh = false;  ///< old files say "gelu" for it
  bool gated = true;

  bool tied = false;  ///< when absent
  /// Goes before "tie_word_embeddings".
  std::string_view tied_field = {};
  bool never_tied = false;  ///< whatever the config says
  bool embedding_scale_sqrt_dim = false;
  bool multipliers =
      false;  ///< embedding_, residual_multiplier, logits_scaling
  std::optional<double> logit_scale = std::nullopt;  ///< reads "logit_scale"
  bool learned_positions = false;

  /// How many of the last layers read the keys and values of an earlier one,
  /// when absent; set: reads "num_kv_shared_layers".
  std::optional<int> shared_kv_layers = std::nullopt;
  /// Layers that see all have heads of their own size: of so many dims when
  /// absent; set: reads "global_head_dim" and what belongs to it.
  std::optional<int> full_head_dim = std::nullopt;
  /// Width of each layer's own embedding of a token, when absent.
  std::optional<int> per_layer_embedding = std::nullopt;
  int per_layer_vocab = 0;                      ///< when absent
  bool streams = false;                         ///< reads "altup_…"
  std::optional<int> twin_rank = std::nullopt;  ///< when absent
  bool gate_sparsity = false;  ///< reads "activation_sparsity_pattern"
  bool output_scalar = false;
  int context_tokens = 2048;  ///< when absent
  DefaultSizes sizes = {};
  SizeNames names = {};
  int hidden_per_dim = 0;  ///< hidden where it is null or absent, over dim
  std::span<const std::string_view> notes = {};  ///< fields that say nothing
  std::optional<MixtureRule> mixture = std::nullopt;
  /// Absent: every layer has attention and a feed-forward part.
  std::optional<RecurrentRule> recurrent = std::nullopt;
  /// Keys and values come from a latent, its ranks and dims from the fields
  /// of DeepSeek-V2; whether its positions rotate interleaved.
  std::optional<FlagRule> latent = std::nullopt;
  bool sinks = false;
  bool clamped_glu = false;  ///< reads "swiglu_limit" and "swiglu_alpha"
  /// There can be layers after the last that only guess further tokens.
  bool extra_layers = false;

  /// Where files rotate other pairs than the config's family.
  std::optional<RopeLayout> gguf_rope_layout = std::nullopt;
  /// Where files of the architecture mean another one than the config's.
  std::optional<Activation> gguf_activation = std::nullopt;
  bool gguf_yarn_truncate = true;  ///< files don't say it
  WindowRule gguf_window = WindowRule::none;
  std::optional<int> gguf_window_tokens = std::nullopt;  ///< when absent
  /// Sliding layers have the base of the others in files without one for them.
  bool gguf_local_theta_is_global = false;
  /// The model of so many layers scales its scores by 1/√(dim / heads).
  int gguf_wide_scale_layers = 0;
};

/// All families, sorted by name.
std::span<const Family> families();
/// Those with mixtures of experts, sorted by name.
std::span<const Family> mixture_families();
/// Those with recurrent layers, sorted by name.
std::span<const Family> recurrent_families();
/// nullptr when there is none of that name.
const Family* find_family(std::string_view name);
const Family* find_gguf_family(std::string_view architecture);
/// Sorted; each once.
std::vector<std::string> gguf_architectures();

/// True for a field that no family needs to know: it doesn't change logits.
bool is_harmless_field(std::string_view name);

}  // namespace roofline
