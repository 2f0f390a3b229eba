#include <fmt/format.h>

#include "roofline/spec/tensor_names.h"

namespace roofline {

namespace {

class Wanted {
 public:
  void matrix(
      const std::string& name,
      std::int64_t rows,
      std::int64_t cols,
      bool bias = false) {
    out.push_back({name, rows, cols, false});
    if (bias) {
      out.push_back({name + ".bias", 1, rows});
    }
  }
  void norm(
      const std::string& name,
      const NormSpec& norm,
      std::int64_t cols,
      std::int64_t rows = 1) {
    if (!norm.affine) {
      return;
    }
    out.push_back({name, rows, cols});
    if (norm.bias) {
      out.push_back({name + ".bias", 1, cols});
    }
  }
  void values(const std::string& name, std::int64_t count) {
    out.push_back({name, 1, count});
  }
  /// One matrix of each expert, stacked by rows, biases too.
  void experts(
      const std::string& name,
      int experts,
      std::int64_t rows,
      std::int64_t cols,
      bool bias) {
    out.push_back({name, experts * rows, cols, false, experts});
    if (bias) {
      values_of_each(name + ".bias", experts, rows);
    }
  }
  void values_of_each(const std::string& name, int experts, std::int64_t n) {
    out.push_back({name, experts, n, false, experts});
  }
  std::vector<ExpectedTensor> out;
};

void want_norms(
    Wanted& wanted,
    const std::string& at,
    const LayerSpec& layer,
    int dim) {
  const NormPlacement place = layer.norm_placement;
  const bool mixes = layer.attention || layer.recurrent;
  const bool both = layer.feed_forward.has_value();
  if (mixes && place != NormPlacement::post) {
    wanted.norm(at + "attention_norm", layer.norm, dim);
  }
  if (both && place != NormPlacement::post &&
      place != NormPlacement::parallel) {
    wanted.norm(at + "feed_forward_norm", layer.norm, dim);
  }
  if (place == NormPlacement::post || place == NormPlacement::sandwich) {
    if (mixes) {
      wanted.norm(at + "attention_post_norm", layer.norm, dim);
    }
    if (both) {
      wanted.norm(at + "feed_forward_post_norm", layer.norm, dim);
    }
  }
}

void want_latent(
    Wanted& wanted,
    const std::string& at,
    const LayerSpec& layer,
    int dim) {
  const AttentionSpec& a = *layer.attention;
  const LatentSpec& latent = *a.latent;
  const std::int64_t heads = a.heads;
  const std::int64_t value = a.value_dim.value_or(a.head_dim);
  const std::int64_t q = heads * (latent.nope_dim + latent.rope_dim);
  if (latent.q_rank) {
    wanted.matrix(at + "q_a", *latent.q_rank, dim, a.qkv_bias);
    wanted.norm(at + "q_a_norm", layer.norm, *latent.q_rank);
    wanted.matrix(at + "q_b", q, *latent.q_rank);
  } else {
    wanted.matrix(at + "q", q, dim);
  }
  wanted.matrix(
      at + "kv_a",
      std::int64_t{latent.kv_rank} + latent.rope_dim,
      dim,
      a.qkv_bias);
  wanted.norm(at + "kv_a_norm", layer.norm, latent.kv_rank);
  if (latent.split_up) {
    wanted.matrix(at + "k_b", heads * latent.kv_rank, latent.nope_dim);
    wanted.matrix(at + "v_b", heads * value, latent.kv_rank);
  } else {
    const std::int64_t dims = latent.nope_dim + value;
    wanted.matrix(at + "kv_b", heads * dims, latent.kv_rank);
  }
  wanted.matrix(at + "o", dim, heads * value, a.output_bias);
}

void want_heads(
    Wanted& wanted,
    const std::string& at,
    const LayerSpec& layer,
    int dim) {
  const AttentionSpec& a = *layer.attention;
  const std::int64_t value = a.value_dim.value_or(a.head_dim);
  const std::int64_t q = std::int64_t{a.heads} * a.head_dim;
  const std::int64_t kv = std::int64_t{a.kv_heads} * a.head_dim;
  const bool own_kv = !a.shares_kv_of_layer.has_value();
  // A head's gate stands behind its query.
  wanted.matrix(at + "q", a.output_gate ? 2 * q : q, dim, a.qkv_bias);
  if (own_kv) {
    wanted.matrix(at + "k", kv, dim, a.qkv_bias);
    if (!a.values_are_keys) {
      wanted.matrix(at + "v", a.kv_heads * value, dim, a.qkv_bias);
    }
  }
  wanted.matrix(at + "o", dim, a.heads * value, a.output_bias);
  if (a.output_norm) {
    wanted.norm(at + "output_norm", layer.norm, a.heads * value);
  }
  if (a.qk_norm == QkNorm::none) {
    return;
  }
  const NormSpec norm = a.qk_norm_spec.value_or(layer.norm);
  const bool whole = a.qk_norm == QkNorm::whole;
  const bool own = a.qk_norm == QkNorm::per_head_own;
  wanted.norm(at + "q_norm", norm, whole ? q : a.head_dim, own ? a.heads : 1);
  if (own_kv) {
    wanted.norm(
        at + "k_norm",
        norm,
        whole ? kv : a.head_dim,
        own ? a.kv_heads : 1);
  }
}

void want_attention(
    Wanted& wanted,
    const std::string& at,
    const LayerSpec& layer,
    int dim) {
  if (layer.attention->latent) {
    want_latent(wanted, at, layer, dim);
  } else {
    want_heads(wanted, at, layer, dim);
  }
  if (layer.attention->sinks) {
    wanted.values(at + "sinks", layer.attention->heads);
  }
}

void want_gated_delta_inputs(
    Wanted& wanted,
    const std::string& at,
    const RecurrentSpec& r,
    int dim) {
  const std::int64_t inner = std::int64_t{r.heads} * r.head_dim;
  if (r.rows_by_key_head) {
    wanted.matrix(at + "in", r.conv_channels + inner, dim, r.input_bias);
    wanted.matrix(at + "in_gates", 2 * std::int64_t{r.heads}, dim);
    return;
  }
  wanted.matrix(at + "in", r.conv_channels, dim, r.input_bias);
  wanted.matrix(at + "in_gate", inner, dim);
  if (r.gates_together) {
    wanted.matrix(at + "in_gates", 2 * std::int64_t{r.heads}, dim);
    return;
  }
  wanted.matrix(at + "in_rate", r.heads, dim);
  wanted.matrix(at + "in_step", r.heads, dim);
}

void want_recurrent(
    Wanted& wanted,
    const std::string& at,
    const RecurrentSpec& r,
    int dim) {
  const std::int64_t inner = std::int64_t{r.heads} * r.head_dim;
  wanted.matrix(at + "conv", r.conv_channels, r.conv_width, r.conv_bias);
  if (r.kind == RecurrentKind::short_conv) {
    const std::int64_t rows = 3 * std::int64_t{r.conv_channels};
    wanted.matrix(at + "in", rows, dim, r.input_bias);
    wanted.matrix(at + "out", dim, r.conv_channels, r.output_bias);
    return;
  }
  if (r.kind == RecurrentKind::mamba2) {
    const std::int64_t rows = inner + r.conv_channels + r.heads;
    wanted.matrix(at + "in", rows, dim, r.input_bias);
    wanted.values(at + "skip", r.heads);
    if (r.output_norm) {
      wanted.values(at + "norm", inner);
    }
  } else {
    want_gated_delta_inputs(wanted, at, r, dim);
    wanted.values(at + "norm", r.head_dim);
  }
  wanted.values(at + "decay", r.heads);
  wanted.values(at + "step.bias", r.heads);
  wanted.matrix(at + "out", dim, inner, r.output_bias);
}

void want_dense(
    Wanted& wanted,
    const std::string& at,
    const FeedForwardSpec& f,
    int hidden,
    int dim) {
  if (f.gated) {
    wanted.matrix(at + "gate", hidden, dim, f.bias);
  }
  wanted.matrix(at + "up", hidden, dim, f.bias);
  wanted.matrix(at + "down", dim, hidden, f.bias);
  if (f.activation == Activation::xielu && !f.xielu) {
    wanted.values(at + "xielu.alpha_p", 1);
    wanted.values(at + "xielu.alpha_n", 1);
    wanted.out.push_back({at + "xielu.beta", 1, 1, true});
    wanted.out.push_back({at + "xielu.eps", 1, 1, true});
  }
}

void want_experts(
    Wanted& wanted,
    const std::string& at,
    const FeedForwardSpec& f,
    int dim) {
  const MixtureSpec& m = *f.mixture;
  const int hidden = m.expert_hidden;
  const bool bias = m.expert_bias;
  switch (m.layout) {
    case ExpertLayout::apart:
      if (f.gated) {
        wanted.experts(at + "gate", m.experts, hidden, dim, bias);
      }
      wanted.experts(at + "up", m.experts, hidden, dim, bias);
      wanted.experts(at + "down", m.experts, dim, hidden, bias);
      return;
    case ExpertLayout::interleaved:
      wanted.experts(at + "gate_up", m.experts, 2 * hidden, dim, bias);
      wanted.experts(at + "down", m.experts, dim, hidden, bias);
      return;
    case ExpertLayout::transposed:
      break;
  }
  wanted.experts(at + "transposed.gate_up", m.experts, dim, 2 * hidden, false);
  wanted.experts(at + "transposed.down", m.experts, hidden, dim, false);
  if (bias) {
    wanted.values_of_each(at + "gate_up.bias", m.experts, 2 * hidden);
    wanted.values_of_each(at + "down.bias", m.experts, dim);
  }
}

void want_mixture(
    Wanted& wanted,
    const std::string& at,
    const FeedForwardSpec& f,
    int dim) {
  const MixtureSpec& m = *f.mixture;
  wanted.matrix(at + "router", m.experts, dim, m.router_bias);
  if (m.selection_bias) {
    wanted.values(at + "router.selection", m.experts);
    // Some converters leave it out where scores are a softmax.
    wanted.out.back().optional = m.score == ExpertScore::softmax;
  }
  if (m.router_norm) {
    wanted.values(at + "router.input_scale", dim);
  }
  if (m.expert_scale) {
    wanted.values(at + "router.expert_scale", m.experts);
  }
  want_experts(wanted, at + "experts.", f, m.latent_dim.value_or(dim));
  if (m.latent_dim) {
    wanted.matrix(at + "latent_in", *m.latent_dim, dim, f.bias);
    wanted.matrix(at + "latent_out", dim, *m.latent_dim, f.bias);
  }
  if (m.shared_hidden > 0) {
    want_dense(wanted, at + "shared.", f, m.shared_hidden, dim);
  }
  if (m.shared_gate) {
    wanted.values(at + "shared.weigh", dim);
  }
}

/// What the whole model adds to each layer.
void want_extras(
    Wanted& wanted,
    const std::string& at,
    const LayerSpec& layer,
    const ModelSpec& spec) {
  if (layer.output_scalar) {
    wanted.values(at + "output_scalar", 1);
  }
  if (layer.low_rank_twin) {
    wanted.matrix(at + "twin.down", *layer.low_rank_twin, spec.dim);
    wanted.matrix(at + "twin.up", spec.dim, *layer.low_rank_twin);
    wanted.norm(at + "twin.norm", layer.norm, spec.dim);
  }
  if (spec.per_layer_embedding) {
    const std::string own = at + "per_layer.";
    wanted.matrix(own + "gate", *spec.per_layer_embedding, spec.dim);
    wanted.matrix(own + "out", spec.dim, *spec.per_layer_embedding);
    wanted.norm(own + "norm", layer.norm, spec.dim);
  }
  if (spec.streams) {
    const std::string own = at + "streams.";
    const std::int64_t count = spec.streams->count;
    wanted.matrix(own + "route", count, spec.dim);
    wanted.norm(own + "route_norm", layer.norm, spec.dim);
    wanted.matrix(own + "predict", count * count, count);
    wanted.matrix(own + "correct", count, count);
    wanted.values(own + "output_scale", spec.dim);
  }
}

void want_shared(Wanted& wanted, const ModelSpec& spec) {
  if (spec.per_layer_embedding) {
    const std::int64_t width = *spec.per_layer_embedding;
    const auto all = width * static_cast<std::int64_t>(spec.layers.size());
    const std::int64_t rows = spec.per_layer_vocab.value_or(spec.vocab);
    wanted.matrix("per_layer.embed", rows, all);
    wanted.matrix("per_layer.project", all, spec.dim);
    wanted.norm("per_layer.norm", spec.final_norm, width);
  }
  for (int i = 0; spec.streams && i + 1 < spec.streams->count; ++i) {
    wanted.matrix(fmt::format("streams.in.{}", i), spec.dim, spec.dim);
    wanted.matrix(fmt::format("streams.out.{}", i), spec.dim, spec.dim);
  }
}

void want_layer(
    Wanted& wanted,
    const std::string& at,
    const LayerSpec& layer,
    int dim) {
  want_norms(wanted, at, layer, dim);
  if (layer.attention) {
    want_attention(wanted, at + "attention.", layer, dim);
  }
  if (layer.recurrent) {
    want_recurrent(wanted, at + "recurrent.", *layer.recurrent, dim);
  }
  if (!layer.feed_forward) {
    return;
  }
  const FeedForwardSpec& f = *layer.feed_forward;
  if (f.mixture) {
    want_mixture(wanted, at + "feed_forward.", f, dim);
  }
  if (f.mixture_beside_dense) {
    for (const char* name :
         {"dense_post_norm", "mixture_norm", "mixture_post_norm"}) {
      wanted.norm(at + "feed_forward." + name, layer.norm, dim);
    }
  }
  if (!f.mixture || f.mixture_beside_dense) {
    want_dense(wanted, at + "feed_forward.", f, f.hidden, dim);
  }
  if (f.hidden_norm) {
    wanted.norm(at + "feed_forward.hidden_norm", layer.norm, f.hidden);
  }
}

}  // namespace

std::string ExpectedTensor::piece(int index) const {
  constexpr std::string_view kExperts = ".experts.";
  std::string out = name;
  const std::size_t at = out.find(kExperts);
  return out.insert(at + kExperts.size(), std::to_string(index) + '.');
}

std::vector<ExpectedTensor> expected_tensors(const ModelSpec& spec) {
  Wanted wanted;
  wanted.matrix("embed", spec.vocab, spec.dim);
  if (spec.learned_positions) {
    wanted.matrix("positions", *spec.learned_positions, spec.dim);
  }
  wanted.norm("final_norm", spec.final_norm, spec.dim);
  if (!spec.tied_embeddings) {
    wanted.matrix("head", spec.vocab, spec.dim);
  }
  if (spec.head_bias) {
    wanted.values("head.bias", spec.vocab);
  }
  for (std::size_t i = 0; i < spec.layers.size(); ++i) {
    const std::string at = fmt::format("layers.{}.", i);
    want_layer(wanted, at, spec.layers[i], spec.dim);
    want_extras(wanted, at, spec.layers[i], spec);
  }
  want_shared(wanted, spec);
  return wanted.out;
}

}  // namespace roofline
