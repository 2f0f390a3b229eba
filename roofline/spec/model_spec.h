// What a model is: a plain value with every pattern already expanded, so that
// the decoder never asks for a family's name or computes `i % pattern`.
// In: read_config.h makes it from a config.json or GGUF metadata.
// Out: model/ builds the decoder from it. It holds no weights.
#pragma once

#include <cstdint>
#include <limits>
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
  /// false: no weight at all.
  bool affine = true;
};

/// Where a layer's norms stand. `x` is the residual stream, f the sub-layer.
enum class NormPlacement {
  pre,                 ///< x + f(norm(x))
  post,                ///< x + norm(f(x))
  sandwich,            ///< x + norm(f(norm(x)))
  parallel,            ///< x + attention(norm(x)) + feed_forward(norm(x))
  parallel_own_norms,  ///< x + attention(norm_a(x)) + feed_forward(norm_f(x))
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
  per_head,      ///< over head_dim, one weight shared by all heads
  per_head_own,  ///< over head_dim, each head has its own weight
  whole,         ///< over all heads at once, before they are split
};

/// Whether queries and keys are normalized before or after they are rotated.
enum class QkNormPlace { before_rope, after_rope };

/// Queries grow with their position p (Llama 4):
/// q · (1 + beta·log(1 + floor(p / original_tokens))).
struct QueryTemperature {
  float beta = 0.0f;
  std::int64_t original_tokens = 1;
};

/// Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434): a token's keys
/// and values are made from kv_rank + rope_dim cached values, shared by all
/// heads. A head's query and key have nope_dim + rope_dim dims.
struct LatentSpec {
  std::optional<int> q_rank;  ///< absent: queries straight from x
  int kv_rank = 0;
  int nope_dim = 0;
  int rope_dim = 0;
  /// Of the norms of the two latents.
  float norm_eps = 1e-6f;
  /// The matrices from the latent to keys and to values lie apart, the former
  /// transposed. Final once the tensors are known.
  bool split_up = false;
};

struct AttentionSpec {
  int heads = 0;
  int kv_heads = 0;
  int head_dim = 0;
  bool qkv_bias = false;
  bool output_bias = false;
  QkNorm qk_norm = QkNorm::none;
  QkNormPlace qk_norm_place = QkNormPlace::before_rope;
  /// Of queries and keys where it isn't as the layer's other norms.
  std::optional<NormSpec> qk_norm_spec;
  /// Values are normalized per head, without a weight.
  bool value_norm = false;
  /// The attended values are normalized over all heads before the output
  /// projection.
  bool output_norm = false;
  /// Queries, keys and values are kept within ±clip after their projections
  /// and norms over all heads.
  std::optional<float> clip;
  std::optional<QueryTemperature> query_temperature;
  /// Factor on the keys.
  float key_scale = 1.0f;
  /// There is no value projection: values are the keys before norm and rope.
  bool values_are_keys = false;
  /// Factor on the scores before softcap, mask and softmax.
  float scale = 1.0f;
  /// Dims of a value; head_dim where absent.
  std::optional<int> value_dim;
  /// Keys and values come through one low-rank latent.
  std::optional<LatentSpec> latent;
  /// The layer whose keys and values this one reads instead of its own.
  std::optional<int> shares_kv_of_layer;
  /// A learnt logit for each head that takes part in the softmax alone.
  bool sinks = false;
  /// The attended values are multiplied by sigmoid(x · gateᵀ). The query
  /// projection holds it: a head's query rows, then the rows of its gate.
  bool output_gate = false;
  /// A query sees only the last so many positions, its own included.
  std::optional<int> window_tokens;
  /// scores := cap · tanh(scores / cap)
  std::optional<float> softcap;
  /// Absent: no positions in this layer.
  std::optional<RopeSpec> rope;
};

enum class Activation {
  silu,
  gelu,
  gelu_tanh,
  relu,
  relu_squared,
  quick_gelu,    ///< x·σ(1.702·x)
  clipped_gelu,  ///< gelu within ±10
  mish,          ///< x·tanh(softplus(x))
  hard_swish,    ///< x·clamp(x + 3, 0, 6)/6
  leaky_relu,    ///< 0.01·x below zero
  relu6,
  tanh,
  sigmoid,
  laplace,  ///< Φ((x − 0.707107)/0.282095) (arXiv 2209.10655)
  identity,
  xielu,  ///< with two learnt scalars a layer (arXiv 2411.13010)
};

/// The scalars of xielu as they are stored: alphas before softplus.
struct Xielu {
  float alpha_p = 0.0f;
  float alpha_n = 0.0f;
  float beta = 0.5f;
  float eps = -1e-6f;
};

/// A layer that carries a state of fixed size from token to token, beside or
/// instead of attention.
enum class RecurrentKind {
  gated_delta,  ///< state [value heads, key dim, value dim] (arXiv 2412.06464)
  mamba2,       ///< state [heads, head dim, state dim] (arXiv 2405.21060)
  short_conv,   ///< no state but the convolution's last inputs
};

struct RecurrentSpec {
  RecurrentKind kind = RecurrentKind::mamba2;
  /// mamba2: heads; gated_delta: value heads.
  int heads = 0;
  int head_dim = 0;   ///< of a value
  int key_heads = 0;  ///< gated_delta; mamba2: groups that share B and C
  int state_dim = 0;  ///< mamba2: N; gated_delta: dims of a key
  /// Width of the causal convolution before the recurrence, and its channels.
  int conv_width = 4;
  int conv_channels = 0;
  bool conv_bias = false;
  /// Of what comes out of the convolution; short_conv has none.
  Activation conv_activation = Activation::silu;
  bool input_bias = false;
  bool output_bias = false;
  /// gated_delta: the rows of the input projections come key head by key head
  /// (query, key, values, gates; then steps and decays), not part by part.
  bool rows_by_key_head = false;
  /// gated_delta, where they don't: rates and steps are one matrix, in blocks
  /// of a key head's (rates, then steps).
  bool gates_together = false;
  /// Value head h belongs to key head h mod key_heads, not to
  /// h / (heads / key_heads).
  bool key_heads_tiled = false;
  /// The stored decay is log(−A), not A.
  bool log_decay = true;
  /// mamba2: the normalization of the output, over all channels or over each
  /// group of them; the gate silu(z) multiplies before or after it.
  bool output_norm = true;
  bool output_norm_by_group = false;
  bool gate_before_norm = true;
  /// mamba2: bounds of a step's length after softplus.
  float step_min = 0.0f;
  float step_max = std::numeric_limits<float>::infinity();
  /// Factors on the input projection's parts z, x, B, C, dt, on its input and
  /// on the output; empty or one: none.
  std::vector<float> part_scales;
  float input_scale = 1.0f;
  float output_scale = 1.0f;
};

enum class ExpertScore {
  softmax,
  sigmoid,
  sparsemixer,  ///< two masked softmaxes (arXiv 2409.12136), top_k 2
};

/// What a group of experts is judged by.
enum class GroupScore {
  best,          ///< its best expert
  sum_of_best_2  ///< its two best
};

/// How the matrices of experts lie in a checkpoint.
enum class ExpertLayout {
  apart,        ///< gate, up and down, [out, in] each
  interleaved,  ///< rows of gate and up in turns
  transposed,   ///< [in, out], columns of gate and up in turns
};

/// A mixture of experts: each token is computed by top_k of them.
struct MixtureSpec {
  int experts = 0;
  int top_k = 0;
  int expert_hidden = 0;
  ExpertScore score = ExpertScore::softmax;
  /// The chosen weights are scaled to sum to one.
  bool renormalise = false;
  /// They are divided by their sum, or by this where the sum is less.
  float least_sum = 0.0f;
  float scale = 1.0f;  ///< on the routed sum
  /// A learnt term that takes part in choosing, not in weighing.
  bool selection_bias = false;
  bool router_bias = false;
  bool expert_bias = false;
  /// The router sees its input normalized, times a learnt vector and 1/√dim.
  bool router_norm = false;
  /// A learnt factor on each expert's weight, after they are scaled.
  bool expert_scale = false;
  /// Final once the tensors are known.
  ExpertLayout layout = ExpertLayout::apart;
  /// Only experts of the best `top_groups` of `groups` groups are chosen.
  int groups = 1;
  int top_groups = 1;
  GroupScore group_score = GroupScore::best;
  /// The sparsemixer's tolerance.
  float jitter = 0.01f;
  /// The routed experts work in so many dims: x is projected into them, and
  /// their sum out of them again.
  std::optional<int> latent_dim;
  /// Hidden size of the expert that every token takes; 0: none.
  int shared_hidden = 0;
  bool shared_gate = false;  ///< it is weighed by sigmoid(x · gateᵀ)
};

/// act(gate)∘up with both kept in bounds: gate := min(gate, limit),
/// up := clamp(up, ±limit), y = gate·sigmoid(alpha·gate)·(up + 1).
struct ClampedGlu {
  float limit = 7.0f;
  float alpha = 1.702f;
};

struct FeedForwardSpec {
  /// Of the dense form; 0 where there is a mixture alone.
  int hidden = 0;
  Activation activation = Activation::silu;
  /// act(x·gateᵀ) ∘ (x·upᵀ) rather than act(x·upᵀ)
  bool gated = true;
  bool bias = false;
  /// Known from the metadata; absent: there are tensors of them.
  std::optional<Xielu> xielu;
  /// Normalizes act(gate)∘up before the down projection.
  bool hidden_norm = false;
  /// Replaces the activation.
  std::optional<ClampedGlu> clamped_glu;
  /// Share of the gate's values that are cut to zero: those below
  /// mean + Φ⁻¹(share)·σ, which is subtracted from the rest.
  std::optional<float> gate_sparsity;
  float gate_scale = 1.0f;    ///< on the gate before the activation
  float output_scale = 1.0f;  ///< on the down projection's result
  std::optional<MixtureSpec> mixture;
  /// The mixture stands beside a dense part of `hidden`. Both read the residual
  /// stream through norms of their own, and the sum of their normalized results
  /// goes on as one part's would; the router reads the stream itself.
  bool mixture_beside_dense = false;
};

/// One layer: a mixer (attention, a recurrence, or both side by side on the
/// same input) and a feed-forward part; some families have layers of one of
/// them only.
struct LayerSpec {
  NormPlacement norm_placement = NormPlacement::pre;
  /// Of all norms in this layer, those of queries and keys included.
  NormSpec norm;
  /// Factor on each sub-layer's output before it joins the residual stream.
  float residual_scale = 1.0f;
  /// A learnt scalar on the layer's whole output.
  bool output_scalar = false;
  /// Rank of a low-rank twin of attention whose result is averaged with it.
  std::optional<int> low_rank_twin;
  /// Factors on the attention's input and output.
  float attention_input_scale = 1.0f;
  float attention_output_scale = 1.0f;
  std::optional<AttentionSpec> attention = AttentionSpec{};
  std::optional<RecurrentSpec> recurrent;
  std::optional<FeedForwardSpec> feed_forward = FeedForwardSpec{};
};

/// Alternating updates (arXiv 2301.13310): `count` streams, of which the
/// layers compute the one at `active`.
struct AlternatingStreams {
  int count = 4;
  int active = 0;
  std::optional<float> coefficient_clip;
  bool scale_corrected = true;
};

/// How config.json says that the weights were quantized ("quantization" of MLX,
/// "quantization_config" of others).
struct StoredQuantization {
  int bits = 4;
  int group_size = 64;  ///< 0: not in groups along a row
  /// MLX's mode ("affine", "mxfp4", "nvfp4", "mxfp8"), or the method of others
  /// ("gptq", "awq", "compressed-tensors", "fp8", "bitnet").
  std::string scheme = "affine";
};

struct ModelSpec {
  /// As the checkpoint names it; for people to read, never to branch on.
  std::string family;
  int dim = 0;
  int vocab = 0;
  /// The head has a bias.
  bool head_bias = false;
  /// Rows of a table of learnt positions; absent: none.
  std::optional<int> learned_positions;
  /// Width of the extra embedding that every layer has of each token.
  std::optional<int> per_layer_embedding;
  /// Rows of that embedding's table; vocab where absent.
  std::optional<int> per_layer_vocab;
  /// Several residual streams, of which each layer computes one and predicts
  /// the others; absent: one.
  std::optional<AlternatingStreams> streams;
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
  /// Layers after the last whose tensors are left out: they guess further
  /// tokens.
  int extra_layers = 0;
  std::optional<StoredQuantization> quantization;
  /// Sizes are known, not every rule of the arithmetic: to be planned, not run.
  bool plan_only = false;
};

/// What of this model the decoder can't compute ("a mixture of experts"), or
/// nullopt when it can run.
std::optional<std::string> missing_mechanism(const ModelSpec& spec);

/// The same of the fused CPU step, which can do less than the graph of MLX ops:
/// a model that it can't run is run as a graph on the CPU.
std::optional<std::string> missing_in_cpu_step(const ModelSpec& spec);

/// Throws UnsupportedError when there is a missing mechanism.
void require_runnable(const ModelSpec& spec);

}  // namespace roofline
