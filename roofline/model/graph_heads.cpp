#include "roofline/model/graph_heads.h"

#include <cmath>

#include <fmt/format.h>
#include <mlx/ops.h>

namespace roofline {

GraphHeads::GraphHeads(
    const AttentionSpec& spec,
    const NormSpec& norm,
    int index,
    const GraphWeights& weights,
    const GraphTypes& types)
    : spec_(spec), index_(index), types_(types) {
  const auto prefix = fmt::format("layers.{}.attention.", index);
  const auto make_norm = [&](const NormSpec& kind, const char* name) {
    return GraphNorm(kind, weights, prefix + name, types.activations);
  };
  if (spec.qk_norm != QkNorm::none) {
    const auto& kind = spec.qk_norm_spec ? *spec.qk_norm_spec : norm;
    q_norm_ = make_norm(kind, "q_norm");
    if (!spec.shares_kv_of_layer) {
      k_norm_ = make_norm(kind, "k_norm");
    }
  }
  if (spec.value_norm) {
    auto plain = norm;
    plain.affine = false;
    v_norm_ = make_norm(plain, "v_norm");
  }
  if (spec.output_norm) {
    output_norm_ = make_norm(norm, "output_norm");
  }
  if (spec.rope) {
    rope_.emplace(*spec.rope, spec.head_dim);
  }
  std::vector<std::string> qkv = {prefix + "q"};
  if (!spec.shares_kv_of_layer) {
    qkv.push_back(prefix + "k");
    if (!spec.values_are_keys) {
      qkv.push_back(prefix + "v");
    }
  }
  qkv_ = weights.matrix(qkv);
  output_ = weights.matrix(prefix + "o");
  if (spec.sinks) {
    sinks_ = mx::astype(*weights.vector(prefix + "sinks"), types.activations);
  }
}

/// The first or second half of each head's columns of x.
mx::array GraphHeads::half_of_heads(const mx::array& x, int half) const {
  const int tokens = x.shape(0);
  const int dims = spec_.head_dim;
  const auto taken = mx::slice(
      mx::reshape(x, {tokens, spec_.heads, 2 * dims}),
      {0, 0, half * dims},
      {tokens, spec_.heads, (half + 1) * dims});
  return mx::reshape(taken, {tokens, spec_.heads * dims});
}

GraphHeads::Projected GraphHeads::project(const mx::array& x) const {
  const auto q_size =
      spec_.heads * spec_.head_dim * (spec_.output_gate ? 2 : 1);
  const auto kv_size = spec_.kv_heads * spec_.head_dim;
  const auto qkv = linear(x, qkv_);
  auto q = columns(qkv, 0, q_size);
  std::optional<mx::array> gate;
  if (spec_.output_gate) {
    gate = half_of_heads(q, 1);
    q = half_of_heads(q, 0);
  }
  if (spec_.shares_kv_of_layer) {
    if (spec_.qk_norm == QkNorm::whole) {
      q = (*q_norm_)(q, types_.activations);
    }
    return {q, std::nullopt, std::nullopt, gate};
  }
  auto k = columns(qkv, q_size, kv_size);
  auto v = spec_.values_are_keys ? k : columns(qkv, q_size + kv_size, kv_size);
  if (spec_.qk_norm == QkNorm::whole) {
    q = (*q_norm_)(q, types_.activations);
    k = (*k_norm_)(k, types_.activations);
  }
  if (spec_.clip) {
    const auto bound = scalar_like(*spec_.clip, qkv);
    for (auto* part : {&q, &k, &v}) {
      *part = mx::clip(*part, mx::negative(bound), bound);
    }
  }
  return {q, k, v, gate};
}

/// Heads [1, tokens, heads, head_dim] normed and rotated:
/// [1, heads, tokens, head_dim].
mx::array GraphHeads::prepared(
    mx::array x,
    const std::optional<GraphNorm>& norm,
    const GraphSequence& sequence) {
  const bool per_head = spec_.qk_norm == QkNorm::per_head ||
                        spec_.qk_norm == QkNorm::per_head_own;
  const bool after = spec_.qk_norm_place == QkNormPlace::after_rope;
  const auto swapped = [](const mx::array& in) {
    return mx::transpose(in, {0, 2, 1, 3});
  };
  if (per_head && !after) {
    x = (*norm)(x, types_.activations);
  }
  x = swapped(x);
  if (rope_) {
    x = (*rope_)(x, sequence.position, sequence.sequence_tokens);
  }
  if (per_head && after) {
    x = swapped((*norm)(swapped(x), types_.activations));
  }
  return x;
}

/// The factor on each query of a sequence: [1, 1, tokens, 1].
mx::array GraphHeads::temperature(const GraphSequence& sequence) const {
  const auto& rule = *spec_.query_temperature;
  std::vector<float> factors;
  for (int i = 0; i < sequence.tokens; ++i) {
    const auto spans = (sequence.position + i) / rule.original_tokens;
    factors.push_back(1.0f + rule.beta * std::log1p(static_cast<float>(spans)));
  }
  const auto all = mx::array(factors.data(), {1, 1, sequence.tokens, 1});
  return mx::astype(all, types_.activations);
}

/// Puts keys and values [1, tokens, kv_heads, head_dim] into the cache.
void GraphHeads::store_one(
    const mx::array& k,
    mx::array v,
    GraphSequence& sequence) {
  auto keys = prepared(k, k_norm_, sequence);
  if (v_norm_) {
    v = (*v_norm_)(v, types_.activations);
  }
  if (spec_.key_scale != 1.0f) {
    keys = mx::multiply(keys, scalar_like(spec_.key_scale, keys));
  }
  store(
      *sequence.cache,
      index_,
      keys,
      mx::transpose(v, {0, 2, 1, 3}),
      sequence.position);
}

mx::array GraphHeads::attend_one(
    const Projected& all,
    GraphSequence& sequence) {
  const auto to_heads = [&](const mx::array& x, int heads) {
    const auto end = sequence.begin + sequence.tokens;
    const auto rows = mx::slice(x, {sequence.begin, 0}, {end, x.shape(1)});
    return mx::reshape(rows, {1, sequence.tokens, heads, spec_.head_dim});
  };
  auto queries = prepared(to_heads(all.q, spec_.heads), q_norm_, sequence);
  if (spec_.query_temperature) {
    queries = mx::multiply(queries, temperature(sequence));
  }
  if (all.k) {
    store_one(
        to_heads(*all.k, spec_.kv_heads),
        to_heads(*all.v, spec_.kv_heads),
        sequence);
  }
  const int held = spec_.shares_kv_of_layer.value_or(index_);
  const auto& mask =
      sequence.masks.get(sequence.cache->segments(held), spec_.window_tokens);
  const auto y = attend(
      queries,
      *sequence.cache,
      held,
      spec_,
      mask,
      sinks_,
      types_.attention);
  return mx::reshape(
      mx::transpose(y, {0, 2, 1, 3}),
      {sequence.tokens, spec_.heads * spec_.head_dim});
}

/// Attention without a cache, over the samples of a batch at once.
mx::array GraphHeads::attend_samples(
    const mx::array& x,
    const PackedSamples& samples) const {
  const auto args = samples.attention(spec_);
  const bool plain = spec_.qk_norm == QkNorm::none && !v_norm_ &&
                     !spec_.values_are_keys && !spec_.clip &&
                     !spec_.output_gate;
  if (plain) {
    return packed_attention(linear(x, qkv_), args);
  }
  const auto normed = [&](const mx::array& in,
                          int heads,
                          const std::optional<GraphNorm>& norm) {
    const auto rows = mx::reshape(in, {x.shape(0), heads, spec_.head_dim});
    return mx::reshape((*norm)(rows, types_.activations), in.shape());
  };
  const auto all = project(x);
  auto q = all.q;
  // Layers without keys of their own aren't packed.
  auto k = *all.k;
  auto v = *all.v;
  if (spec_.qk_norm == QkNorm::per_head ||
      spec_.qk_norm == QkNorm::per_head_own) {
    q = normed(q, spec_.heads, q_norm_);
    k = normed(k, spec_.kv_heads, k_norm_);
  }
  if (v_norm_) {
    v = normed(v, spec_.kv_heads, v_norm_);
  }
  const auto y = packed_attention(mx::concatenate({q, k, v}, 1), args);
  return all.gate ? mx::multiply(y, mx::sigmoid(*all.gate)) : y;
}

mx::array GraphHeads::forward(
    const mx::array& x,
    std::vector<GraphSequence>& sequences) {
  const auto attend_all = [&] {
    const auto all = project(x);
    std::vector<mx::array> outputs;
    for (auto& sequence : sequences) {
      outputs.push_back(attend_one(all, sequence));
    }
    const auto joined =
        outputs.size() == 1 ? outputs[0] : mx::concatenate(outputs, 0);
    return all.gate ? mx::multiply(joined, mx::sigmoid(*all.gate)) : joined;
  };
  auto y = sequences[0].packed ? attend_samples(x, *sequences[0].packed)
                               : attend_all();
  if (output_norm_) {
    y = (*output_norm_)(y, types_.activations);
  }
  return linear(y, output_);
}

std::size_t GraphHeads::weight_bytes() const {
  return qkv_.bytes() + output_.bytes() + norm_bytes(q_norm_) +
         norm_bytes(k_norm_) + norm_bytes(output_norm_) +
         (sinks_ ? sinks_->nbytes() : 0);
}

}  // namespace roofline
