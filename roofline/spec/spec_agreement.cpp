#include "roofline/spec/spec_agreement.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

namespace roofline {

namespace {

bool close(double a, double b) {
  return std::abs(a - b) <= 1e-4 * std::max(std::abs(a), std::abs(b));
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
  if (wanted->dynamic || wanted->regimes.size() != read->regimes.size()) {
    out.differs("rope scaling");
    return;
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

void compare_attention(
    const AttentionSpec& wanted,
    const AttentionSpec& read,
    Comparison& out) {
  out.same("heads", wanted.heads, read.heads);
  out.same("key-value heads", wanted.kv_heads, read.kv_heads);
  out.same("head dims", wanted.head_dim, read.head_dim);
  out.same("norm of queries and keys", wanted.qk_norm, read.qk_norm);
  out.near("attention scale", wanted.scale, read.scale);
  out.near(
      "attention softcap",
      wanted.softcap.value_or(0),
      read.softcap.value_or(0));
  out.same("attention window", wanted.window_tokens, read.window_tokens);
  compare_ropes(wanted.rope, read.rope, out);
}

void compare_layers(
    const LayerSpec& wanted,
    const LayerSpec& read,
    Comparison& out) {
  out.same("place of norms", wanted.norm_placement, read.norm_placement);
  out.near("norm epsilon", wanted.norm.eps, read.norm.eps);
  out.same("kind of norm", wanted.norm.kind, read.norm.kind);
  out.near("residual scale", wanted.residual_scale, read.residual_scale);
  compare_attention(*wanted.attention, *read.attention, out);
  out.same(
      "hidden size",
      wanted.feed_forward->hidden,
      read.feed_forward->hidden);
  out.same(
      "activation",
      wanted.feed_forward->activation,
      read.feed_forward->activation);
  out.same("gate", wanted.feed_forward->gated, read.feed_forward->gated);
}

}  // namespace

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
  out.near("final norm epsilon", wanted.final_norm.eps, read.final_norm.eps);
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
