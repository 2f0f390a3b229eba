// What llama.cpp takes of a model in each architecture that can be written:
// which tensors its loader knows, and under which names and forms. A model with
// more than that is refused, for llama.cpp wouldn't load the file.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "roofline/spec/model_spec.h"

namespace roofline {

/// Models of so many layers (and, unless it is 0, such a vocabulary).
struct DirectQueries {
  int layers = 0;
  std::int64_t vocab = 0;
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
  bool needs_shared_experts = false;
  /// Keys and values have as many heads as queries, whatever the file says.
  bool all_kv_heads = false;
  /// Which layers have a window may be listed.
  bool window_list = false;
  /// Layers with a window may have a base of their own.
  bool window_base = true;
};

/// nullptr for one that can't be written.
const GgufArchitecture* find_gguf_architecture(std::string_view name);
/// Sorted.
std::vector<std::string> written_gguf_architectures();

/// What of the model llama.cpp's loader has no place for, in words; empty where
/// it takes all. The architecture is that of the model.
std::string refused_by_llama_cpp(
    const GgufArchitecture& architecture,
    const ModelSpec& spec);

/// What llama.cpp computes otherwise in a file that is written all the same, a
/// sentence for people; empty where it is the model.
std::string unlike_in_llama_cpp(
    const GgufArchitecture& architecture,
    const ModelSpec& spec);

}  // namespace roofline
