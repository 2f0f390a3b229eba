#include "roofline/model/graph_latent.h"

#include <utility>

#include <fmt/format.h>
#include <mlx/fast.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include "roofline/model/graph_codes.h"

namespace roofline {

namespace {

NormSpec norm_of(const NormSpec& layer, const LatentSpec& latent) {
  NormSpec norm = layer;
  norm.eps = latent.norm_eps;
  return norm;
}

/// A tensor [heads·rows, cols] as floats [heads, rows, cols].
mx::array by_head(
    const GraphWeights& weights,
    const std::string& name,
    int heads) {
  const Tensor& tensor = weights.checkpoint().at(name);
  return mx::reshape(
      weights.floats(tensor),
      {heads,
       static_cast<int>(tensor.rows) / heads,
       static_cast<int>(tensor.cols)});
}

}  // namespace

/// They are small, and kept as floats.
GraphLatent::Up GraphLatent::read_up(
    const AttentionSpec& spec,
    const GraphWeights& weights,
    const std::string& prefix) {
  const int heads = spec.heads;
  const auto turned = [](const mx::array& x) { return mx::swapaxes(x, 1, 2); };
  const auto stored = [&](const mx::array& x) {
    auto out = mx::contiguous(mx::astype(x, weights.activations()));
    mx::eval(out);
    return out;
  };
  if (spec.latent->split_up) {
    return {
        stored(turned(by_head(weights, prefix + "k_b", heads))),
        stored(turned(by_head(weights, prefix + "v_b", heads)))};
  }
  const auto both = by_head(weights, prefix + "kv_b", heads);
  const auto rows = [&](int begin, int end) {
    return mx::slice(both, {0, begin, 0}, {heads, end, both.shape(2)});
  };
  const int nope = spec.latent->nope_dim;
  return {stored(rows(0, nope)), stored(turned(rows(nope, both.shape(1))))};
}

/// Of the matrix [heads · (nope_dim + value_dim), kv_rank].
GraphLatent::Up GraphLatent::up_of(const mx::array& whole) const {
  const int nope = latent_.nope_dim;
  const auto both = mx::astype(
      mx::reshape(whole, {spec_.heads, -1, latent_.kv_rank}),
      types_.activations);
  return {
      mx::slice(both, {0, 0, 0}, {spec_.heads, nope, latent_.kv_rank}),
      mx::swapaxes(mx::slice(both, {0, nope, 0}, both.shape()), 1, 2)};
}

/// The other way round, in float32.
mx::array GraphLatent::whole_of(const Up& up) {
  const auto both =
      mx::concatenate({up.to_latent, mx::swapaxes(up.from_latent, 1, 2)}, 1);
  return mx::astype(mx::reshape(both, {-1, both.shape(2)}), mx::float32);
}

void GraphLatent::hook_up(
    const GraphWeights& weights,
    const std::string& name) {
  up_hook_ = weights.hook(name);
  if (up_hook_ == nullptr) {
    return;
  }
  up_hook_->reshaped = true;
  up_hook_->stored.times = [up = up_](const mx::array& x) {
    return mx::matmul(x, mx::astype(mx::transpose(whole_of(up)), x.dtype()));
  };
  up_hook_->stored.squares = [up = up_] {
    return mx::sum(mx::square(whole_of(up)), -1);
  };
}

GraphLatent::GraphLatent(
    const AttentionSpec& spec,
    const NormSpec& norm,
    int index,
    const GraphWeights& weights,
    const GraphTypes& types)
    : spec_(spec),
      latent_(*spec.latent),
      index_(index),
      types_(types),
      kv_norm_(
          norm_of(norm, *spec.latent),
          weights,
          fmt::format("layers.{}.attention.kv_a_norm", index),
          types.activations),
      up_(read_up(spec, weights, fmt::format("layers.{}.attention.", index))) {
  const auto prefix = fmt::format("layers.{}.attention.", index);
  if (latent_.q_rank) {
    q_norm_.emplace(
        norm_of(norm, latent_),
        weights,
        prefix + "q_a_norm",
        types.activations);
    q_a_ = weights.matrix(prefix + "q_a");
  }
  q_b_ = weights.matrix(prefix + (latent_.q_rank ? "q_b" : "q"));
  kv_a_ = weights.matrix(prefix + "kv_a");
  output_ = weights.matrix(prefix + "o");
  hook_up(weights, prefix + "kv_b");
  if (spec.rope) {
    rope_.emplace(*spec.rope, latent_.rope_dim);
  }
}

/// x [tokens, dim] → [tokens, heads·(nope_dim + rope_dim)].
mx::array GraphLatent::queries(const mx::array& x) const {
  if (!latent_.q_rank) {
    return linear(x, q_b_);
  }
  return linear((*q_norm_)(linear(x, q_a_), types_.activations), q_b_);
}

/// query [1, heads, tokens, kv_rank + rope_dim] over the latents: the heads'
/// weighted sums of these [1, heads, tokens, kv_rank].
mx::array GraphLatent::attend(
    const mx::array& query,
    KvCache& cache,
    const SlotMask& mask) const {
  const int rank = latent_.kv_rank;
  const GraphQueries queries{
      query,
      mask.position,
      spec_.scale,
      spec_.window_tokens,
      std::nullopt,
      std::nullopt};
  if (auto y = attend_in_place(
          queries,
          cache,
          index_,
          mask,
          types_.attention,
          rank)) {
    return *y;
  }
  const auto keys = read_slots(
      cache.key_store(index_),
      mask.first_slot,
      mask.slots,
      query.dtype());
  const auto values = mx::slice(keys, {0, 0, 0, 0}, {1, 1, mask.slots, rank});
  return mx::fast::scaled_dot_product_attention(
      query,
      keys,
      values,
      spec_.scale,
      mask.causal ? "causal" : "",
      mask.seen);
}

/// q, kv: those of all sequences. Result: [sequence.tokens, heads·value_dim].
mx::array GraphLatent::attend_one(
    const mx::array& q,
    const mx::array& kv,
    const Up& up,
    GraphSequence& sequence) {
  const int tokens = sequence.tokens;
  const int heads = spec_.heads;
  const int rank = latent_.kv_rank;
  const int nope = latent_.nope_dim;
  const auto rotated = [&](const mx::array& x) {
    return rope_ ? (*rope_)(x, sequence.position, sequence.sequence_tokens) : x;
  };
  const auto rows = [&](const mx::array& x) {
    return mx::slice(
        x,
        {sequence.begin, 0},
        {sequence.begin + tokens, x.shape(1)});
  };
  // Of all heads: [heads, tokens, nope_dim + rope_dim].
  const auto own_q = mx::transpose(
      mx::reshape(rows(q), {tokens, heads, nope + latent_.rope_dim}),
      {1, 0, 2});
  const auto q_rope = rotated(
      mx::expand_dims(mx::slice(own_q, {0, 0, nope}, own_q.shape()), 0));
  const auto q_nope = mx::slice(own_q, {0, 0, 0}, {heads, tokens, nope});
  const auto q_latent = nope > 0
                            ? mx::matmul(q_nope, up.to_latent)
                            : mx::zeros({heads, tokens, rank}, own_q.dtype());
  const auto query = mx::concatenate({mx::expand_dims(q_latent, 0), q_rope}, 3);
  // Of the token: [1, 1, tokens, kv_rank + rope_dim].
  const auto own_kv = rows(kv);
  const auto latent = kv_norm_(columns(own_kv, 0, rank), types_.activations);
  const auto k_rope = rotated(mx::reshape(
      columns(own_kv, rank, latent_.rope_dim),
      {1, 1, tokens, latent_.rope_dim}));
  const auto fresh =
      mx::concatenate({mx::reshape(latent, {1, 1, tokens, rank}), k_rope}, 3);
  store_latent(*sequence.cache, index_, fresh, sequence.position);
  const auto& mask =
      sequence.masks.get(sequence.cache->segments(index_), spec_.window_tokens);
  const auto seen = attend(query, *sequence.cache, mask);
  const auto y = mx::matmul(mx::squeeze(seen, 0), up.from_latent);
  return mx::reshape(
      mx::transpose(y, {1, 0, 2}),
      {tokens, heads * *spec_.value_dim});
}

mx::array GraphLatent::forward(
    const mx::array& x,
    std::vector<GraphSequence>& sequences) {
  const auto q = queries(x);
  const auto kv = linear(x, kv_a_);
  const auto up = up_hook_ && is_changed(*up_hook_)
                      ? up_of(adapted_weight(up_hook_, whole_of(up_)))
                      : up_;
  std::vector<mx::array> outputs;
  for (auto& sequence : sequences) {
    outputs.push_back(attend_one(q, kv, up, sequence));
  }
  return linear(
      outputs.size() == 1 ? outputs[0] : mx::concatenate(outputs, 0),
      output_);
}

std::size_t GraphLatent::weight_bytes() const {
  return q_a_.bytes() + q_b_.bytes() + kv_a_.bytes() + output_.bytes() +
         norm_bytes(q_norm_) + kv_norm_.bytes() + up_.to_latent.nbytes() +
         up_.from_latent.nbytes();
}

}  // namespace roofline
