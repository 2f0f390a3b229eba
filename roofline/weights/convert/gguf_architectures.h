// What llama.cpp takes of a model in each architecture that can be written:
// which tensors its loader knows, and under which names and forms.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace roofline {

/// Models of so many layers (and, unless it is 0, such a vocabulary).
struct DirectQueries {
  int layers = 0;
  std::int64_t vocab = 0;
};

/// Sizes of models with several residual streams that a loader knows by heart.
struct FixedStreams {
  int twin_rank = 0;
  int per_layer_embedding = 0;
  int count = 0;
  /// Of these layers at most are own keys and values, and the others read
  /// those of the last.
  int layers_with_keys = 0;
  int sparse_layers = 0;  ///< so many first ones have sparse gates
  float sparsity = 0.0f;
};

struct GgufArchitecture {
  std::string_view name = {};
  bool head = true;          ///< may have a head that isn't the embedding
  bool tied = true;          ///< may leave the head out
  bool qkv_bias = true;      ///< loads biases of queries, keys and values
  bool output_bias = false;  ///< of what attention gives
  bool dense_bias = false;   ///< of feed-forward parts
  bool head_bias = false;
  bool expert_bias = false;   ///< of experts and their router
  bool rope_factors = false;  ///< reads a divisor for each pair
  bool longrope = false;      ///< reads two sets of them
  bool packed_qkv = false;
  bool packed_gate_up = false;
  /// The norm before the feed-forward part is called "post_attention_norm".
  bool late_norm = false;
  bool experts = false;
  /// Reads whether experts' weights are normalised, and a factor on them.
  bool expert_weights = false;
  bool dense_first = false;  ///< reads how many layers have no experts
  /// Heads have dim / heads dims, whatever the file says.
  bool whole_heads = false;
  bool clip = false;  ///< reads a bound of queries, keys and values
  /// Norms of queries and keys in models of at least so many layers, and in
  /// no other; 0: as the tensors are.
  int qk_norm_layers = 0;
  /// Of a latent: these models have queries straight from x, and no other.
  std::array<DirectQueries, 3> direct_queries = {};
  /// Windows in models of so many layers and in no other, which all have some;
  /// 0: as the file says.
  int window_layers = 0;
  /// Its loader passes over the window of the file, and lets tokens see all.
  bool window_ignored = false;
  /// Biases that the loader can't do without, of attention and feed-forward
  /// parts alike: zeros where the model has none.
  bool needs_biases = false;
  /// The same of what attention gives and of the head alone.
  bool needs_output_biases = false;
  /// Layer norms whose epsilon has the other norms' key.
  bool rms_epsilon = false;
  /// What llama.cpp makes of all its files otherwise than the models are.
  std::string_view unlike = {};
  bool needs_shared_experts = false;
  /// Keys and values have as many heads as queries, whatever the file says.
  bool all_kv_heads = false;
  /// Which layers have a window may be listed.
  bool window_list = false;
  /// Layers with a window may have a base of their own.
  bool window_base = true;
  bool needs_window_list = false;
  bool needs_rope_factors = false;  ///< even where they are all one
  bool rope_sections = false;       ///< asks for those of images' positions
  /// The keys and values that the last layers read are of the last two layers
  /// with their own, the one with a window before the one without.
  bool shared_kv_last_two = false;
  std::optional<FixedStreams> streams = std::nullopt;
  /// Asks for the epsilon of layer norms beside that of RMS norms.
  bool both_epsilons = false;

  /// What its loader asks of recurrent layers.
  bool conv_bias = true;         ///< loads the convolution's
  bool needs_conv_bias = false;  ///< zeros where the model has none
  bool needs_recurrent_norm = false;
  bool doubled_inner = false;   ///< twice the model's dims, and no other
  bool equal_key_dims = false;  ///< as many as those of values
  bool heads_in_turns = false;  ///< value heads of the key heads in turns
  bool recurrent_list = false;  ///< which layers they are may be listed

  bool needs_experts = false;         ///< in every feed-forward part
  bool needs_selection_bias = false;  ///< zeros where the model has none
  bool always_renormalises = false;   ///< experts' weights, whatever is said
  bool bare_ffn_norm = false;         ///< "ffn_norm" without ".weight"
  /// The model's factors are in its weights.
  bool folds_factors = false;
};

/// nullptr for one that can't be written.
const GgufArchitecture* find_gguf_architecture(std::string_view name);
/// Sorted.
std::vector<std::string> written_gguf_architectures();

}  // namespace roofline
