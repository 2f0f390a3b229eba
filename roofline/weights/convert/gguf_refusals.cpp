#include "roofline/weights/convert/gguf_refusals.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "roofline/spec/families.h"

namespace roofline {

namespace {

bool has_windows(const ModelSpec& spec) {
  return std::any_of(
      spec.layers.begin(),
      spec.layers.end(),
      [](const LayerSpec& layer) {
        return layer.attention && layer.attention->window_tokens;
      });
}

std::string refused_in_attention(
    const GgufArchitecture& architecture,
    const AttentionSpec& attention,
    const ModelSpec& spec) {
  const auto layers = static_cast<int>(spec.layers.size());
  if (architecture.whole_heads &&
      attention.heads * attention.head_dim != spec.dim) {
    return fmt::format("heads of {} dims", attention.head_dim);
  }
  if (attention.clip && !architecture.clip) {
    return "a bound of queries, keys and values";
  }
  const bool normed = attention.qk_norm != QkNorm::none;
  if (architecture.qk_norm_layers != 0 &&
      normed != (layers >= architecture.qk_norm_layers)) {
    return normed ? "norms of queries and keys"
                  : "queries and keys without norms";
  }
  const auto& direct_queries = architecture.direct_queries;
  const bool direct = std::any_of(
      direct_queries.begin(),
      direct_queries.end(),
      [&](const DirectQueries& each) {
        return each.layers == layers &&
               (each.vocab == 0 || each.vocab == spec.vocab);
      });
  if (attention.latent && direct == attention.latent->q_rank.has_value()) {
    return fmt::format(
        "queries {} in a model of {} layers",
        direct ? "of low rank" : "straight from x",
        layers);
  }
  if (attention.window_tokens && architecture.window_layers != 0 &&
      architecture.window_layers != layers) {
    return fmt::format("windows in a model of {} layers", layers);
  }
  if (architecture.window_layers == layers && !has_windows(spec)) {
    return fmt::format("full attention in all of {} layers", layers);
  }
  if (architecture.all_kv_heads && attention.kv_heads != attention.heads) {
    return fmt::format(
        "{} key-value heads for {} heads",
        attention.kv_heads,
        attention.heads);
  }
  if (attention.qkv_bias && !architecture.qkv_bias) {
    return "biases of queries, keys and values";
  }
  if (attention.output_bias && !architecture.output_bias) {
    return "a bias of what attention gives";
  }
  return "";
}

/// The bases of the layers with a window and of those without one.
bool bases_differ(const ModelSpec& spec) {
  std::optional<double> base;
  for (const LayerSpec& layer : spec.layers) {
    if (!layer.attention || !layer.attention->rope) {
      continue;
    }
    if (base && *base != layer.attention->rope->theta) {
      return true;
    }
    base = layer.attention->rope->theta;
  }
  return false;
}

std::string refused_in_recurrence(
    const GgufArchitecture& architecture,
    const RecurrentSpec& recurrent,
    const ModelSpec& spec) {
  const bool mamba2 = recurrent.kind == RecurrentKind::mamba2;
  const int inner = recurrent.heads * recurrent.head_dim;
  if (recurrent.input_bias || recurrent.output_bias) {
    return "biases of a recurrence";
  }
  if (recurrent.conv_bias && !architecture.conv_bias) {
    return "a bias of a convolution";
  }
  if (mamba2 && !recurrent.output_norm && architecture.needs_recurrent_norm) {
    return "a recurrence without a norm";
  }
  if (architecture.doubled_inner && inner != 2 * spec.dim) {
    return fmt::format(
        "a recurrence of {} dims in a model of {}",
        inner,
        spec.dim);
  }
  if (architecture.equal_key_dims &&
      recurrent.state_dim != recurrent.head_dim) {
    return fmt::format(
        "keys of {} dims and values of {} in a recurrence",
        recurrent.state_dim,
        recurrent.head_dim);
  }
  return "";
}

std::string refused_in_mixture(
    const GgufArchitecture& architecture,
    const MixtureSpec& mixture) {
  if (!architecture.experts) {
    return "a mixture of experts";
  }
  if ((mixture.expert_bias || mixture.router_bias) &&
      !architecture.expert_bias) {
    return "biases of experts";
  }
  if (mixture.groups > 1 && mixture.group_score == GroupScore::best) {
    return "groups of experts that are judged by their best one";
  }
  if (mixture.scale != 1.0f && !architecture.expert_weights) {
    return "a factor on experts";
  }
  if (!mixture.renormalise && architecture.always_renormalises) {
    return "experts whose weights aren't normalised";
  }
  if (architecture.needs_shared_experts && mixture.shared_hidden == 0) {
    return "no shared experts";
  }
  return "";
}

std::string refused_in_feed_forward(
    const GgufArchitecture& architecture,
    const FeedForwardSpec& feed_forward) {
  if (feed_forward.bias && !architecture.dense_bias) {
    return "biases of feed-forward parts";
  }
  const Family* family = find_gguf_family(architecture.name);
  if (family != nullptr && family->gguf_activation &&
      feed_forward.activation != *family->gguf_activation) {
    return "another activation than its files have";
  }
  if (!feed_forward.mixture && architecture.needs_experts) {
    return "a feed-forward part without experts";
  }
  return feed_forward.mixture
             ? refused_in_mixture(architecture, *feed_forward.mixture)
             : "";
}

/// The layer whose keys and values the others read must be where the loader
/// looks for it.
std::string refused_in_sharing(std::size_t layer, const ModelSpec& spec) {
  const AttentionSpec& attention = *spec.layers[layer].attention;
  if (!attention.shares_kv_of_layer) {
    return "";
  }
  std::size_t own = spec.layers.size();
  while (own > 0 && spec.layers[own - 1].attention->shares_kv_of_layer) {
    --own;
  }
  const std::size_t back = attention.window_tokens ? 2 : 1;
  const auto shared = static_cast<std::size_t>(*attention.shares_kv_of_layer);
  return shared + back == own
             ? ""
             : fmt::format(
                   "a layer {} that reads the keys of layer {}",
                   layer,
                   shared);
}

std::string refused_in_streams(
    const FixedStreams& fixed,
    const ModelSpec& spec) {
  std::size_t with_keys = 0;
  for (const LayerSpec& layer : spec.layers) {
    with_keys += !layer.attention->shares_kv_of_layer;
    if (layer.low_rank_twin != fixed.twin_rank) {
      return fmt::format("a low-rank twin of rank {}", *layer.low_rank_twin);
    }
    if (layer.feed_forward->hidden != spec.layers[0].feed_forward->hidden) {
      return "feed-forward parts of several widths";
    }
  }
  if (spec.per_layer_embedding != fixed.per_layer_embedding) {
    return fmt::format(
        "embeddings of each layer's own of {} dims",
        spec.per_layer_embedding.value_or(0));
  }
  if (!spec.streams || spec.streams->count != fixed.count ||
      spec.streams->active != 0) {
    return "other residual streams than four with the first one active";
  }
  const auto most = static_cast<std::size_t>(fixed.layers_with_keys);
  if (with_keys > most ||
      (with_keys < most && with_keys != spec.layers.size())) {
    return fmt::format(
        "{} of {} layers with keys and values of their own",
        with_keys,
        spec.layers.size());
  }
  for (std::size_t i = 0; i < spec.layers.size(); ++i) {
    const bool sparse = i < static_cast<std::size_t>(fixed.sparse_layers);
    const float share =
        spec.layers[i].feed_forward->gate_sparsity.value_or(0.0f);
    if (std::abs(share - (sparse ? fixed.sparsity : 0.0f)) > 1e-4f) {
      return fmt::format("a gate of sparsity {} in layer {}", share, i);
    }
  }
  return "";
}

std::string refused_in_layer(
    const GgufArchitecture& architecture,
    std::size_t number,
    const ModelSpec& spec) {
  const LayerSpec& layer = spec.layers[number];
  std::string what;
  if (layer.attention) {
    what = refused_in_attention(architecture, *layer.attention, spec);
    if (what.empty() && architecture.shared_kv_last_two) {
      what = refused_in_sharing(number, spec);
    }
  }
  if (what.empty() && layer.recurrent) {
    what = refused_in_recurrence(architecture, *layer.recurrent, spec);
  }
  if (what.empty() && layer.feed_forward) {
    what = refused_in_feed_forward(architecture, *layer.feed_forward);
  }
  return what;
}

/// The least window of a model whose files' readers pass it over; empty where
/// there is none.
std::string ignored_window(
    const GgufArchitecture& architecture,
    const ModelSpec& spec) {
  std::int64_t window = spec.context_tokens;
  for (const LayerSpec& layer : spec.layers) {
    if (layer.attention && layer.attention->window_tokens) {
      window = std::min<std::int64_t>(window, *layer.attention->window_tokens);
    }
  }
  if (!architecture.window_ignored || window >= spec.context_tokens) {
    return "";
  }
  return fmt::format(
      "llama.cpp passes over the attention window in files of {}: what it "
      "computes is this model up to {} tokens, not to {}",
      architecture.name,
      window,
      spec.context_tokens);
}

/// llama.cpp has one epsilon for all norms.
std::string unlike_latent_norm(const ModelSpec& spec) {
  for (const LayerSpec& layer : spec.layers) {
    if (!layer.attention || !layer.attention->latent) {
      continue;
    }
    const float own = layer.attention->latent->norm_eps;
    if (std::abs(own - layer.norm.eps) > 1e-3f * own) {
      return fmt::format(
          "llama.cpp has one epsilon for all norms: those of the latents get "
          "{} there, where the model has {}, which changes its logits a little",
          layer.norm.eps,
          own);
    }
  }
  return "";
}

struct Unknown {
  std::string_view family;
  std::string_view why;
};
constexpr std::array kUnknown = {
    Unknown{"helium", "llama.cpp has no architecture for it"},
};

}  // namespace

std::string refused_by_llama_cpp(
    const GgufArchitecture& architecture,
    const ModelSpec& spec) {
  std::string what;
  if (!spec.tied_embeddings && !architecture.head) {
    what = "a head that isn't the embedding";
  } else if (spec.head_bias && !architecture.head_bias) {
    what = "a bias of the head";
  } else if (!architecture.window_base && bases_differ(spec)) {
    what = "another base of positions in windows";
  }
  if (what.empty() && architecture.streams) {
    what = refused_in_streams(*architecture.streams, spec);
  }
  for (std::size_t i = 0; i < spec.layers.size() && what.empty(); ++i) {
    what = refused_in_layer(architecture, i, spec);
  }
  return what;
}

std::string unlike_in_llama_cpp(
    const GgufArchitecture& architecture,
    const ModelSpec& spec) {
  std::vector<std::string> all = {
      std::string(architecture.unlike),
      ignored_window(architecture, spec),
      unlike_latent_norm(spec)};
  std::erase(all, "");
  return fmt::format("{}", fmt::join(all, ". "));
}

std::string unknown_to_llama_cpp(std::string_view family) {
  for (const Unknown& unknown : kUnknown) {
    if (unknown.family == family) {
      return std::string(unknown.why);
    }
  }
  return "";
}

}  // namespace roofline
