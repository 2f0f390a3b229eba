#include "roofline/model/graph_mixture.h"

#include <vector>

#include <mlx/ops.h>

namespace roofline {

namespace {

/// From this many (token, expert) pairs on they are sorted by expert, so that
/// each expert's matrix is read once.
constexpr int kSortFrom = 64;

std::vector<std::string> up_names(const FeedForwardSpec& spec) {
  if (spec.mixture->layout != ExpertLayout::apart) {
    return {"gate_up"};
  }
  return spec.gated ? std::vector<std::string>{"gate", "up"}
                    : std::vector<std::string>{"up"};
}

GraphExperts read_stack(
    const FeedForwardSpec& spec,
    const std::string& prefix,
    const GraphWeights& weights,
    const std::vector<std::string>& names) {
  const MixtureSpec& mixture = *spec.mixture;
  return read_experts(
      weights,
      prefix + "experts.",
      names,
      mixture.experts,
      mixture.layout == ExpertLayout::transposed);
}

/// The expert that every token takes, as a dense part.
FeedForwardSpec shared_spec(const FeedForwardSpec& spec) {
  FeedForwardSpec shared = spec;
  shared.hidden = spec.mixture->shared_hidden;
  shared.mixture.reset();
  return shared;
}

/// Every second column of x [rows, columns].
mx::array in_turns(const mx::array& x, int first) {
  return mx::slice(x, {0, first}, x.shape(), {1, 2});
}

mx::array clamped(
    const mx::array& gate,
    const mx::array& up,
    const ClampedGlu& glu) {
  const auto number = [&](float value) {
    return mx::array(value, gate.dtype());
  };
  const auto g = mx::minimum(gate, number(glu.limit));
  const auto u = mx::clip(up, number(-glu.limit), number(glu.limit));
  const auto share = mx::sigmoid(mx::multiply(g, number(glu.alpha)));
  return mx::multiply(mx::multiply(g, share), mx::add(u, number(1.0f)));
}

}  // namespace

GraphMixture::GraphMixture(
    const FeedForwardSpec& spec,
    const NormSpec& norm,
    const std::string& prefix,
    const GraphWeights& weights,
    const GraphTypes& types)
    : spec_(spec),
      router_(*spec.mixture, norm, prefix, weights),
      up_(read_stack(spec, prefix, weights, up_names(spec))),
      down_(read_stack(spec, prefix, weights, {"down"})),
      activate_(make_activate(spec.activation, types.fuse)) {
  const int count = spec.mixture->experts;
  const int width = spec.mixture->expert_hidden;
  const int dim = spec.mixture->latent_dim.value_or(router_.dim());
  const auto hook = [&](const char* name, int rows, int cols) {
    return weights
        .addition_hook(prefix + "experts." + name, count * rows, cols, count);
  };
  gate_hook_ = spec.gated ? hook("gate", width, dim) : nullptr;
  up_hook_ = hook("up", width, dim);
  down_hook_ = hook("down", dim, width);
  if (spec.mixture->latent_dim) {
    latent_in_ = weights.matrix(prefix + "latent_in");
    latent_out_ = weights.matrix(prefix + "latent_out");
  }
  if (spec.mixture->shared_hidden > 0) {
    shared_
        .emplace(shared_spec(spec), norm, prefix + "shared.", weights, types);
  }
  if (spec.mixture->shared_gate) {
    shared_gate_ =
        mx::reshape(*weights.vector(prefix + "shared.weigh"), {-1, 1});
    shared_gate_hook_ =
        weights.addition_hook(prefix + "shared.weigh", 1, router_.dim());
    shared_gate_hook_->stored.times = [w = *shared_gate_](const mx::array& x) {
      return mx::matmul(x, w);
    };
    shared_gate_hook_->stored.squares = [w = *shared_gate_] {
      return mx::sum(mx::square(w), 0);
    };
  }
}

/// x: what `up` is the product with, of the experts `ids`.
mx::array GraphMixture::hidden(
    const mx::array& x,
    const mx::array& up,
    const mx::array& ids) const {
  if (!spec_.gated) {
    return activate_({add_expert_additions(x, up, *up_hook_, ids)})[0];
  }
  const int width = spec_.mixture->expert_hidden;
  const bool apart = spec_.mixture->layout == ExpertLayout::apart;
  const auto gate = add_expert_additions(
      x,
      apart ? columns(up, 0, width) : in_turns(up, 0),
      *gate_hook_,
      ids);
  const auto linear = add_expert_additions(
      x,
      apart ? columns(up, width, width) : in_turns(up, 1),
      *up_hook_,
      ids);
  return spec_.clamped_glu ? clamped(gate, linear, *spec_.clamped_glu)
                           : activate_({gate, linear})[0];
}

/// x: [tokens, dim]; ids: [tokens, top_k] → [tokens, top_k, dim].
mx::array GraphMixture::experts(const mx::array& x, const mx::array& ids)
    const {
  const int tokens = x.shape(0);
  const int top_k = ids.shape(1);
  const int dim = x.shape(1);
  const auto flat = mx::reshape(ids, {tokens * top_k});
  const bool sorted = tokens * top_k >= kSortFrom;
  const auto order =
      sorted ? mx::argsort(flat) : mx::arange(0, tokens * top_k, 1, mx::uint32);
  const auto chosen = sorted ? mx::take(flat, order, 0) : flat;
  const mx::array k(static_cast<std::uint32_t>(top_k));
  const auto rows = mx::take(x, mx::floor_divide(order, k), 0);
  const auto inner =
      hidden(rows, expert_linear(rows, up_, chosen, sorted), chosen);
  auto y = add_expert_additions(
      inner,
      expert_linear(inner, down_, chosen, sorted),
      *down_hook_,
      chosen);
  if (sorted) {
    y = mx::take(y, mx::argsort(order), 0);
  }
  return mx::reshape(y, {tokens, top_k, dim});
}

mx::array GraphMixture::forward(const mx::array& x) const {
  return forward(x, x);
}

mx::array GraphMixture::forward(const mx::array& x, const mx::array& routed_by)
    const {
  const auto [ids, weights] = router_.route(routed_by);
  const auto weighed = mx::multiply(
      experts(latent_in_ ? linear(x, *latent_in_) : x, ids),
      mx::expand_dims(weights, 2));
  auto y = mx::sum(weighed, 1);
  if (latent_out_) {
    y = mx::astype(linear(mx::astype(y, x.dtype()), *latent_out_), mx::float32);
  }
  if (shared_) {
    auto shared = mx::astype(shared_->forward(x), mx::float32);
    if (shared_gate_) {
      const auto input = mx::astype(x, mx::float32);
      const auto gate = add_additions(
          input,
          mx::matmul(input, *shared_gate_),
          {shared_gate_hook_});
      shared = mx::multiply(shared, mx::sigmoid(gate));
    }
    y = mx::add(y, shared);
  }
  return mx::astype(y, x.dtype());
}

std::size_t GraphMixture::weight_bytes() const {
  const MixtureSpec& m = *spec_.mixture;
  const std::size_t all = up_.bytes() + down_.bytes();
  return router_.bytes() +
         (latent_in_ ? latent_in_->bytes() + latent_out_->bytes() : 0) +
         all / static_cast<std::size_t>(m.experts) *
             static_cast<std::size_t>(m.top_k) +
         (shared_ ? shared_->weight_bytes() : 0) +
         (shared_gate_ ? shared_gate_->nbytes() : 0);
}

}  // namespace roofline
