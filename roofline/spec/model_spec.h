// What a model is: a plain value with every pattern already expanded, so that
// the decoder never asks for a family's name or computes `i % pattern`.
// In: read_config.h makes it from a config.json or GGUF metadata.
// Out: model/ builds the decoder from it. It holds no weights.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace roofline {

enum class NormKind { rms, layer };

struct NormSpec {
  NormKind kind = NormKind::rms;
  float eps = 1e-6f;
  bool bias = false;
  /// The stored weight w means a scale of 1 + w.
  bool plus_one = false;
};

/// Where a layer's norms stand. `x` is the residual stream, f the sub-layer.
enum class NormPlacement {
  pre,       ///< x + f(norm(x))
  post,      ///< x + norm(f(x))
  sandwich,  ///< x + norm(f(norm(x)))
  parallel,  ///< x + attention(norm(x)) + feed_forward(norm(x))
};

/// Which pairs of a head's dims rotate together.
enum class RopeLayout {
  half_split,   ///< (i, i + rotated_dims / 2)
  interleaved,  ///< (2i, 2i + 1)
};

/// Frequencies that hold up to a context length; see RopeSpec::regimes.
struct RopeRegime {
  /// Radians per position, [rotated_dims / 2], scaling already applied.
  std::vector<float> frequencies;
  /// Factor on the rotated query and key (yarn's and longrope's mscale).
  float magnitude = 1.0f;
  /// This regime holds for sequences of at most this many tokens.
  std::int64_t max_tokens = INT64_MAX;
};

/// Rotary positions. Linear, llama3, yarn, proportional and NTK-alpha scaling
/// give one regime; longrope gives two, and a sequence that grows past the
/// first one's max_tokens must be run again from its start in the second.
struct RopeSpec {
  int rotated_dims = 0;
  RopeLayout layout = RopeLayout::half_split;
  std::vector<RopeRegime> regimes;
  /// Dynamic NTK: past the last regime's max_tokens the base grows with the
  /// sequence: theta' = theta·(factor·n/max − (factor − 1))^(d/(d − 2)).
  struct Dynamic {
    float theta = 10000.0f;
    float factor = 1.0f;
    std::int64_t max_tokens = 0;
  };
  std::optional<Dynamic> dynamic;
  /// For people to read: the base, and the scaling in words ("" for none).
  double theta = 0;
  std::string scaling;

  /// The frequencies for a sequence of `tokens` tokens in all.
  RopeRegime regime_for(std::int64_t tokens) const;
};

enum class QkNorm {
  none,
  per_head,  ///< over head_dim, one weight shared by all heads
  whole,     ///< over all heads at once, before they are split
};

struct AttentionSpec {
  int heads = 0;
  int kv_heads = 0;
  int head_dim = 0;
  bool qkv_bias = false;
  bool output_bias = false;
  QkNorm qk_norm = QkNorm::none;
  /// Factor on the scores before softcap, mask and softmax.
  float scale = 1.0f;
  /// A query sees only the last so many positions, its own included.
  std::optional<int> window_tokens;
  /// scores := cap · tanh(scores / cap)
  std::optional<float> softcap;
  /// Absent: no positions in this layer.
  std::optional<RopeSpec> rope;
};

enum class Activation { silu, gelu, gelu_tanh, relu, relu_squared };

struct FeedForwardSpec {
  int hidden = 0;
  Activation activation = Activation::silu;
  /// act(x·gateᵀ) ∘ (x·upᵀ) rather than act(x·upᵀ)
  bool gated = true;
  bool bias = false;
};

struct LayerSpec {
  NormPlacement norm_placement = NormPlacement::pre;
  /// Of all norms in this layer, those of queries and keys included.
  NormSpec norm;
  /// Factor on each sub-layer's output before it joins the residual stream.
  float residual_scale = 1.0f;
  AttentionSpec attention;
  FeedForwardSpec feed_forward;
};

/// How an MLX checkpoint says it was quantized (config.json's "quantization").
struct StoredQuantization {
  int bits = 4;
  int group_size = 64;
};

struct ModelSpec {
  /// As the checkpoint names it; for people to read, never to branch on.
  std::string family;
  int dim = 0;
  int vocab = 0;
  std::vector<LayerSpec> layers;
  NormSpec final_norm;
  float embedding_scale = 1.0f;
  float logit_scale = 1.0f;
  std::optional<float> logit_softcap;
  /// The head is the embedding matrix. Final once the tensors are known.
  bool tied_embeddings = false;
  /// Tokens the model was made for.
  std::int64_t context_tokens = 0;
  std::vector<std::int32_t> eos_tokens;
  std::optional<std::int32_t> bos_token;
  std::optional<StoredQuantization> quantization;
};

}  // namespace roofline
