#include "roofline/spec/spec_agreement.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

namespace roofline {

namespace {

bool close(double a, double b) {
  // Below 1e-20 there is nothing: so slow a pair of dims doesn't rotate.
  return a == b ||
         std::abs(a - b) <= 1e-4 * std::max(std::abs(a), std::abs(b)) + 1e-20;
}

/// Collects the first difference.
class Comparison {
 public:
  template <class T>
  void same(const char* what, const T& wanted, const T& read) {
    if (!found_ && !(wanted == read)) {
      found_ = fmt::format("{}{}", where_, what);
    }
  }
  void near(const char* what, double wanted, double read) {
    if (!found_ && !close(wanted, read)) {
      found_ =
          fmt::format("{}{} {} ({} when read)", where_, what, wanted, read);
    }
  }
  void differs(const char* what) { same(what, true, false); }
  void at(std::string where) { where_ = std::move(where); }
  const std::optional<std::string>& found() const { return found_; }

 private:
  std::string where_;
  std::optional<std::string> found_;
};

void compare_ropes(
    const std::optional<RopeSpec>& wanted,
    const std::optional<RopeSpec>& read,
    Comparison& out) {
  if (wanted.has_value() != read.has_value()) {
    out.differs("positions");
    return;
  }
  if (!wanted) {
    return;
  }
  out.same("rotated dims", wanted->rotated_dims, read->rotated_dims);
  const auto& dynamic = wanted->dynamic;
  if (dynamic.has_value() != read->dynamic.has_value() ||
      wanted->regimes.size() != read->regimes.size()) {
    out.differs("rope scaling");
    return;
  }
  if (dynamic) {
    out.near("dynamic base", dynamic->theta, read->dynamic->theta);
    out.near("dynamic factor", dynamic->factor, read->dynamic->factor);
    out.same("dynamic context", dynamic->max_tokens, read->dynamic->max_tokens);
  }
  for (std::size_t i = 0; i < wanted->regimes.size(); ++i) {
    const RopeRegime& a = wanted->regimes[i];
    const RopeRegime& b = read->regimes[i];
    out.near("rope magnitude", a.magnitude, b.magnitude);
    out.same("rope regimes", a.max_tokens, b.max_tokens);
    const bool frequencies = std::equal(
        a.frequencies.begin(),
        a.frequencies.end(),
        b.frequencies.begin(),
        b.frequencies.end(),
        [](float x, float y) { return close(x, y); });
    out.same("rope frequencies", true, frequencies);
  }
}

void compare_temperatures(
    const std::optional<QueryTemperature>& wanted,
    const std::optional<QueryTemperature>& read,
    Comparison& out) {
  out.near("temperature", wanted ? wanted->beta : 0, read ? read->beta : 0);
  if (wanted && read) {
    out.same(
        "length of the temperature",
        wanted->original_tokens,
        read->original_tokens);
  }
}

/// Whether the matrix from the latent lies in two parts is known from the
/// tensors.
void compare_latents(
    const AttentionSpec& wanted,
    const AttentionSpec& read,
    Comparison& out) {
  out.same("latent", wanted.latent.has_value(), read.latent.has_value());
  if (!wanted.latent || !read.latent) {
    return;
  }
  const LatentSpec& a = *wanted.latent;
  const LatentSpec& b = *read.latent;
  out.same("rank of queries", a.q_rank, b.q_rank);
  out.same("rank of keys and values", a.kv_rank, b.kv_rank);
  out.same("dims without positions", a.nope_dim, b.nope_dim);
  out.same("dims with positions", a.rope_dim, b.rope_dim);
  out.near("epsilon of the latent's norms", a.norm_eps, b.norm_eps);
  out.same("dims of values", wanted.value_dim, read.value_dim);
  if (wanted.rope && read.rope) {
    // No row is moved there.
    out.same("pairs that rotate", wanted.rope->layout, read.rope->layout);
  }
}

void compare_attention(
    const AttentionSpec& wanted,
    const AttentionSpec& read,
    Comparison& out) {
  out.same("heads", wanted.heads, read.heads);
  if (!wanted.latent) {
    out.same("key-value heads", wanted.kv_heads, read.kv_heads);
  }
  out.same("head dims", wanted.head_dim, read.head_dim);
  out.same("norm of queries and keys", wanted.qk_norm, read.qk_norm);
  out.near("attention scale", wanted.scale, read.scale);
  out.near(
      "attention softcap",
      wanted.softcap.value_or(0),
      read.softcap.value_or(0));
  out.same("attention window", wanted.window_tokens, read.window_tokens);
  out.same("sinks", wanted.sinks, read.sinks);
  out.near(
      "bound of projections",
      wanted.clip.value_or(0),
      read.clip.value_or(0));
  out.same("norm of values", wanted.value_norm, read.value_norm);
  out.same("norm of what was attended", wanted.output_norm, read.output_norm);
  out.same("gate of attention", wanted.output_gate, read.output_gate);
  out.same(
      "place of the norm of queries",
      wanted.qk_norm_place,
      read.qk_norm_place);
  out.near("factor on keys", wanted.key_scale, read.key_scale);
  out.same(
      "layer whose keys and values it reads",
      wanted.shares_kv_of_layer,
      read.shares_kv_of_layer);
  compare_temperatures(wanted.query_temperature, read.query_temperature, out);
  compare_latents(wanted, read, out);
  compare_ropes(wanted.rope, read.rope, out);
}

/// Biases and layouts are known from the tensors.
void compare_mixtures(
    const std::optional<MixtureSpec>& wanted,
    const std::optional<MixtureSpec>& read,
    Comparison& out) {
  out.same("mixture of experts", wanted.has_value(), read.has_value());
  if (!wanted || !read) {
    return;
  }
  out.same("experts", wanted->experts, read->experts);
  out.same("experts of a token", wanted->top_k, read->top_k);
  out.same("experts' hidden size", wanted->expert_hidden, read->expert_hidden);
  out.same("scores of experts", wanted->score, read->score);
  out.same(
      "normalization of experts' weights",
      wanted->renormalise,
      read->renormalise);
  out.near("least sum of weights", wanted->least_sum, read->least_sum);
  out.near("factor on experts", wanted->scale, read->scale);
  out.same("norm of the router", wanted->router_norm, read->router_norm);
  out.same("factors of experts", wanted->expert_scale, read->expert_scale);
  out.same("groups of experts", wanted->groups, read->groups);
  if (wanted->groups > 1) {
    out.same("groups of a token", wanted->top_groups, read->top_groups);
    out.same("scores of groups", wanted->group_score, read->group_score);
  }
  if (wanted->score == ExpertScore::sparsemixer) {
    out.near("tolerance of the router", wanted->jitter, read->jitter);
  }
  out.same("dims of experts", wanted->latent_dim, read->latent_dim);
  out.same("shared expert", wanted->shared_hidden, read->shared_hidden);
  out.same("gate of the shared expert", wanted->shared_gate, read->shared_gate);
}

void compare_bounds(
    const std::optional<ClampedGlu>& wanted,
    const std::optional<ClampedGlu>& read,
    Comparison& out) {
  out.same("bounds of the gate", wanted.has_value(), read.has_value());
  if (wanted && read) {
    out.near("limit of the gate", wanted->limit, read->limit);
    out.near("slope of the gate", wanted->alpha, read->alpha);
  }
}

void compare_feed_forward(
    const FeedForwardSpec& wanted,
    const FeedForwardSpec& read,
    Comparison& out) {
  out.same("hidden size", wanted.hidden, read.hidden);
  out.same("activation", wanted.activation, read.activation);
  out.same("gate", wanted.gated, read.gated);
  out.same(
      "norm within the feed-forward part",
      wanted.hidden_norm,
      read.hidden_norm);
  out.near(
      "sparsity of the gate",
      wanted.gate_sparsity.value_or(0),
      read.gate_sparsity.value_or(0));
  out.near("factor on the gate", wanted.gate_scale, read.gate_scale);
  out.near(
      "factor on the feed-forward part",
      wanted.output_scale,
      read.output_scale);
  out.same(
      "place of the mixture",
      wanted.mixture_beside_dense,
      read.mixture_beside_dense);
  compare_bounds(wanted.clamped_glu, read.clamped_glu, out);
  compare_mixtures(wanted.mixture, read.mixture, out);
}

bool scales_parts(const RecurrentSpec& recurrent) {
  return std::any_of(
      recurrent.part_scales.begin(),
      recurrent.part_scales.end(),
      [](float scale) { return scale != 1.0f; });
}

/// Biases, and how the input's matrices lie, are known from the tensors.
void compare_recurrences(
    const RecurrentSpec& wanted,
    const RecurrentSpec& read,
    Comparison& out) {
  out.same("kind of recurrence", wanted.kind, read.kind);
  out.same("heads of the recurrence", wanted.heads, read.heads);
  out.same("head dims of the recurrence", wanted.head_dim, read.head_dim);
  out.same("key heads of the recurrence", wanted.key_heads, read.key_heads);
  out.same("dims of the state", wanted.state_dim, read.state_dim);
  out.same("width of the convolution", wanted.conv_width, read.conv_width);
  out.same(
      "channels of the convolution",
      wanted.conv_channels,
      read.conv_channels);
  out.same(
      "activation of the convolution",
      wanted.conv_activation,
      read.conv_activation);
  out.near("shortest step", wanted.step_min, read.step_min);
  out.near("longest step", wanted.step_max, read.step_max);
  out.same("factors on parts", scales_parts(wanted), scales_parts(read));
  out.near(
      "factor on the recurrence's input",
      wanted.input_scale,
      read.input_scale);
  out.near("factor on the recurrence", wanted.output_scale, read.output_scale);
  if (wanted.kind == RecurrentKind::mamba2 && wanted.output_norm) {
    out.same(
        "place of the recurrence's gate",
        wanted.gate_before_norm,
        read.gate_before_norm);
    out.same(
        "norm of the recurrence by group",
        wanted.output_norm_by_group || wanted.key_heads == 1,
        read.output_norm_by_group || read.key_heads == 1);
  }
}

/// A scalar on a layer's output is known from the tensors.
void compare_extras(
    const LayerSpec& wanted,
    const LayerSpec& read,
    Comparison& out) {
  out.near(
      "factor on attention's input",
      wanted.attention_input_scale,
      read.attention_input_scale);
  out.near(
      "factor on attention",
      wanted.attention_output_scale,
      read.attention_output_scale);
  out.same("low-rank twin", wanted.low_rank_twin, read.low_rank_twin);
}

void compare_layers(
    const LayerSpec& wanted,
    const LayerSpec& read,
    Comparison& out) {
  compare_extras(wanted, read, out);
  out.same("place of norms", wanted.norm_placement, read.norm_placement);
  out.near("norm epsilon", wanted.norm.eps, read.norm.eps);
  out.same("kind of norm", wanted.norm.kind, read.norm.kind);
  out.same("weights of norms", wanted.norm.affine, read.norm.affine);
  out.same("biases of norms", wanted.norm.bias, read.norm.bias);
  out.near("residual scale", wanted.residual_scale, read.residual_scale);
  out.same(
      "attention",
      wanted.attention.has_value(),
      read.attention.has_value());
  out.same(
      "recurrence",
      wanted.recurrent.has_value(),
      read.recurrent.has_value());
  out.same(
      "feed-forward part",
      wanted.feed_forward.has_value(),
      read.feed_forward.has_value());
  if (wanted.attention && read.attention) {
    compare_attention(*wanted.attention, *read.attention, out);
  }
  if (wanted.recurrent && read.recurrent) {
    compare_recurrences(*wanted.recurrent, *read.recurrent, out);
  }
  if (wanted.feed_forward && read.feed_forward) {
    compare_feed_forward(*wanted.feed_forward, *read.feed_forward, out);
  }
}

/// The clip of coefficients belongs to training.
void compare_streams(
    const std::optional<AlternatingStreams>& wanted,
    const std::optional<AlternatingStreams>& read,
    Comparison& out) {
  out.same("residual streams", wanted.has_value(), read.has_value());
  if (wanted && read) {
    out.same("residual streams", wanted->count, read->count);
    out.same("active stream", wanted->active, read->active);
    out.same(
        "scale of the corrected stream",
        wanted->scale_corrected,
        read->scale_corrected);
  }
}

void compare_recurrent_biases(
    const RecurrentSpec& wanted,
    const RecurrentSpec& read,
    Comparison& out) {
  out.same("bias of the convolution", wanted.conv_bias, read.conv_bias);
  out.same("bias of the input", wanted.input_bias, read.input_bias);
  out.same("bias of the output", wanted.output_bias, read.output_bias);
}

void compare_mixture_biases(
    const MixtureSpec& wanted,
    const MixtureSpec& read,
    Comparison& out) {
  out.same("bias of the router", wanted.router_bias, read.router_bias);
  out.same("biases of experts", wanted.expert_bias, read.expert_bias);
  out.same(
      "term in the choice of experts",
      wanted.selection_bias,
      read.selection_bias);
}

void compare_biases(
    const LayerSpec& wanted,
    const LayerSpec& read,
    Comparison& out) {
  if (wanted.attention && read.attention) {
    const AttentionSpec& a = *wanted.attention;
    const AttentionSpec& b = *read.attention;
    out.same("biases of queries, keys and values", a.qkv_bias, b.qkv_bias);
    out.same("bias of attention's output", a.output_bias, b.output_bias);
  }
  if (wanted.recurrent && read.recurrent) {
    compare_recurrent_biases(*wanted.recurrent, *read.recurrent, out);
  }
  if (!wanted.feed_forward || !read.feed_forward) {
    return;
  }
  const FeedForwardSpec& a = *wanted.feed_forward;
  const FeedForwardSpec& b = *read.feed_forward;
  if (!a.mixture || a.mixture->shared_hidden > 0) {
    out.same("biases of the feed-forward part", a.bias, b.bias);
  }
  if (a.mixture && b.mixture) {
    compare_mixture_biases(*a.mixture, *b.mixture, out);
  }
}

}  // namespace

std::optional<std::string> bias_difference(
    const ModelSpec& wanted,
    const ModelSpec& read) {
  Comparison out;
  out.same("bias of the head", wanted.head_bias, read.head_bias);
  for (std::size_t i = 0; i < wanted.layers.size(); ++i) {
    out.at(fmt::format("layer {}: ", i));
    compare_biases(wanted.layers[i], read.layers[i], out);
  }
  return out.found();
}

std::optional<std::string> spec_difference(
    const ModelSpec& wanted,
    const ModelSpec& read) {
  Comparison out;
  out.same("size", wanted.dim, read.dim);
  out.same("vocabulary", wanted.vocab, read.vocab);
  out.same("layers", wanted.layers.size(), read.layers.size());
  out.near("embedding scale", wanted.embedding_scale, read.embedding_scale);
  out.near("logit scale", wanted.logit_scale, read.logit_scale);
  out.near(
      "logit softcap",
      wanted.logit_softcap.value_or(0),
      read.logit_softcap.value_or(0));
  out.same(
      "learnt positions",
      wanted.learned_positions,
      read.learned_positions);
  out.near("final norm epsilon", wanted.final_norm.eps, read.final_norm.eps);
  out.same(
      "embedding of each layer's own",
      wanted.per_layer_embedding,
      read.per_layer_embedding);
  compare_streams(wanted.streams, read.streams, out);
  if (out.found()) {
    return out.found();
  }
  for (std::size_t i = 0; i < wanted.layers.size(); ++i) {
    out.at(fmt::format("layer {}: ", i));
    compare_layers(wanted.layers[i], read.layers[i], out);
  }
  return out.found();
}

}  // namespace roofline
