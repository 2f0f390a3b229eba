#include <functional>
#include <utility>

#include <fmt/format.h>

#include "roofline/spec/activation_names.h"
#include "roofline/spec/read_config.h"

namespace roofline {

namespace {

std::string_view placement_in_words(NormPlacement placement) {
  switch (placement) {
    case NormPlacement::pre:
      return "before each part";
    case NormPlacement::post:
      return "after each part";
    case NormPlacement::sandwich:
      return "before and after each part";
    case NormPlacement::parallel:
      return "once, before both parts";
    case NormPlacement::parallel_own_norms:
      return "before each of two parts side by side";
  }
  return "";
}

std::string norm_in_words(const LayerSpec& layer) {
  std::string out = fmt::format(
      "{} {}, eps {:g}",
      layer.norm.kind == NormKind::rms ? "rms" : "layer norm",
      placement_in_words(layer.norm_placement),
      layer.norm.eps);
  if (layer.norm.plus_one) {
    out += ", scale is 1 + weight";
  }
  if (layer.residual_scale != 1.0f) {
    out += fmt::format(", each part × {:g}", layer.residual_scale);
  }
  return out;
}

std::string recurrent_in_words(const RecurrentSpec& r) {
  if (r.kind == RecurrentKind::short_conv) {
    return fmt::format("convolution over {} tokens", r.conv_width);
  }
  return fmt::format(
      "{}, {} heads of {} × {} values of state",
      r.kind == RecurrentKind::mamba2 ? "mamba 2" : "gated delta rule",
      r.heads,
      r.head_dim,
      r.state_dim);
}

/// What only some families have.
std::string more_in_words(const AttentionSpec& a) {
  std::string out;
  if (a.qk_norm != QkNorm::none && a.qk_norm_place == QkNormPlace::after_rope) {
    out += " after rope";
  }
  out += a.value_norm ? ", values too" : "";
  out += a.output_norm ? ", what is attended normed" : "";
  out += a.values_are_keys ? ", values are keys" : "";
  if (a.clip) {
    out += fmt::format(", within ±{:g}", *a.clip);
  }
  if (a.query_temperature) {
    out += fmt::format(
        ", queries grow by {:g} from {} tokens on",
        a.query_temperature->beta,
        a.query_temperature->original_tokens);
  }
  if (a.shares_kv_of_layer) {
    out += fmt::format(
        ", with keys and values of layer {}",
        *a.shares_kv_of_layer);
  }
  return out;
}

std::string attention_in_words(const LayerSpec& layer) {
  if (!layer.attention) {
    return layer.recurrent ? recurrent_in_words(*layer.recurrent) : "none";
  }
  const AttentionSpec& a = *layer.attention;
  std::string out = fmt::format(
      "{} heads over {} key-value heads of {} dims, scores × {:g}",
      a.heads,
      a.kv_heads,
      a.head_dim,
      a.scale);
  if (a.softcap) {
    out += fmt::format(", capped at {:g}", *a.softcap);
  }
  if (a.qk_norm == QkNorm::per_head || a.qk_norm == QkNorm::per_head_own) {
    out += ", queries and keys normed per head";
  } else if (a.qk_norm == QkNorm::whole) {
    out += ", queries and keys normed whole";
  }
  out += more_in_words(a);
  if (a.qkv_bias || a.output_bias) {
    out += a.output_bias ? ", biases" : ", biases on q, k and v";
  }
  out += a.window_tokens
             ? fmt::format(", window of {} tokens", *a.window_tokens)
             : ", sees all tokens";
  if (a.latent) {
    out += fmt::format(
        ", from a latent of {} + {} values",
        a.latent->kv_rank,
        a.latent->rope_dim);
  }
  out += a.sinks ? ", sinks" : "";
  out += a.output_gate ? ", gated" : "";
  if (layer.recurrent) {
    out += ", beside " + recurrent_in_words(*layer.recurrent);
  }
  return out;
}

std::string positions_in_words(const LayerSpec& layer) {
  if (!layer.attention || !layer.attention->rope) {
    return "none";
  }
  const RopeSpec& rope = *layer.attention->rope;
  std::string out = fmt::format(
      "rope, theta {:g}, {}",
      rope.theta,
      rope.layout == RopeLayout::interleaved ? "interleaved" : "half-split");
  if (rope.rotated_dims != layer.attention->head_dim) {
    out += fmt::format(
        ", {} of {} dims",
        rope.rotated_dims,
        layer.attention->head_dim);
  }
  if (!rope.scaling.empty()) {
    out += ", scaling " + rope.scaling;
  }
  return out;
}

std::string feed_forward_in_words(const LayerSpec& layer) {
  if (!layer.feed_forward) {
    return "none";
  }
  const FeedForwardSpec& f = *layer.feed_forward;
  if (f.mixture) {
    const MixtureSpec& m = *f.mixture;
    const std::string shared =
        m.shared_hidden > 0
            ? fmt::format(", and one {} wide for all", m.shared_hidden)
            : std::string();
    const std::string beside =
        f.mixture_beside_dense
            ? fmt::format(" beside a dense part, {} wide", f.hidden)
            : std::string();
    return fmt::format(
        "{} of {} experts, {} wide{}{}, {}{}",
        m.top_k,
        m.experts,
        m.expert_hidden,
        shared,
        beside,
        f.gated ? "gated " : "",
        activation_in_words(f.activation));
  }
  return fmt::format(
      "{} wide, {}{}{}",
      f.hidden,
      f.gated ? "gated " : "",
      activation_in_words(f.activation),
      f.bias ? ", biases" : "");
}

/// "0-4, 6": the layers of one group.
std::string ranges(const std::vector<std::size_t>& layers) {
  std::string out;
  for (std::size_t i = 0; i < layers.size();) {
    std::size_t last = i;
    while (last + 1 < layers.size() && layers[last + 1] == layers[last] + 1) {
      ++last;
    }
    out += out.empty() ? "" : ", ";
    out += last == i ? fmt::format("{}", layers[i])
                     : fmt::format("{}-{}", layers[i], layers[last]);
    i = last + 1;
  }
  return out;
}

using Words = std::function<std::string(const LayerSpec&)>;

/// One line where all layers agree, else one for each group of equal ones.
void add_fact(
    std::string& out,
    std::string_view title,
    const ModelSpec& spec,
    const Words& words) {
  std::vector<std::pair<std::string, std::vector<std::size_t>>> groups;
  for (std::size_t i = 0; i < spec.layers.size(); ++i) {
    const std::string text = words(spec.layers[i]);
    auto group = groups.begin();
    while (group != groups.end() && group->first != text) {
      ++group;
    }
    if (group == groups.end()) {
      group = groups.insert(groups.end(), {text, {}});
    }
    group->second.push_back(i);
  }
  for (const auto& [text, layers] : groups) {
    const std::string where = groups.size() == 1
                                  ? std::string()
                                  : fmt::format(
                                        " of layer{} {}",
                                        layers.size() == 1 ? "" : "s",
                                        ranges(layers));
    out += fmt::format("{}{}: {}\n", title, where, text);
  }
}

std::string ends_in_words(const ModelSpec& spec) {
  std::string out = spec.tied_embeddings ? "the head is the embedding matrix"
                                         : "the head has a matrix of its own";
  if (spec.embedding_scale != 1.0f) {
    out += fmt::format(", embeddings × {:g}", spec.embedding_scale);
  }
  if (spec.logit_scale != 1.0f) {
    out += fmt::format(", logits × {:g}", spec.logit_scale);
  }
  if (spec.learned_positions) {
    out += fmt::format(", {} learnt positions", *spec.learned_positions);
  }
  if (spec.per_layer_embedding) {
    out += fmt::format(
        ", {} dims of each layer's own embedding",
        *spec.per_layer_embedding);
  }
  if (spec.streams) {
    out += fmt::format(", {} residual streams", spec.streams->count);
  }
  if (spec.logit_softcap) {
    out += fmt::format(", logits capped at {:g}", *spec.logit_softcap);
  }
  return out;
}

}  // namespace

std::string describe(const ModelSpec& spec) {
  std::string out = fmt::format(
      "family: {}\n"
      "size: {} layers of {} dims, vocabulary of {}, made for {} tokens\n"
      "ends: {}\n",
      spec.family,
      spec.layers.size(),
      spec.dim,
      spec.vocab,
      spec.context_tokens,
      ends_in_words(spec));
  add_fact(out, "norms", spec, norm_in_words);
  add_fact(out, "attention", spec, attention_in_words);
  add_fact(out, "positions", spec, positions_in_words);
  add_fact(out, "feed-forward", spec, feed_forward_in_words);
  if (spec.quantization) {
    const StoredQuantization& stored = *spec.quantization;
    out += fmt::format("quantized: {} bits", stored.bits);
    if (stored.group_size > 0) {
      out += fmt::format(" in groups of {}", stored.group_size);
    }
    out +=
        stored.scheme == "affine" ? "\n" : fmt::format(", {}\n", stored.scheme);
  }
  return out;
}

}  // namespace roofline
