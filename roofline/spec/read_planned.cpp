#include <algorithm>
#include <cmath>
#include <initializer_list>

#include <fmt/format.h>

#include "roofline/spec/planned_families.h"
#include "roofline/spec/rope.h"

namespace roofline {

namespace {

using Json = nlohmann::json;
using Names = std::initializer_list<std::string_view>;

// Of all experts of a layer together.
constexpr std::int64_t kMaxExpertRows = std::int64_t{1} << 24;

/// The first of several names for the same thing that is there.
std::optional<int> any_of(Fields& config, Names names, IntRange range) {
  std::optional<int> out;
  for (std::string_view name : names) {
    const auto value = config.integer(name, range);
    if (value && !out) {
      out = static_cast<int>(*value);
    }
  }
  return out;
}

int needed(Fields& config, Names names, IntRange range) {
  const auto found = any_of(config, names, range);
  return found ? *found
               : static_cast<int>(config.needed_integer(*names.begin(), range));
}

int size_or(
    Fields& config,
    std::string_view name,
    int other,
    IntRange range = kDims) {
  return static_cast<int>(config.integer(name, range).value_or(other));
}

int product(Fields& config, std::string_view name, std::int64_t a, int b) {
  if (a * b > kMaxDim) {
    config.refuse(name, fmt::format("Times {} it is too much", b));
  }
  return static_cast<int>(a * b);
}

RopeSpec read_simple_rope(Fields& config, int dims) {
  RopeRecipe recipe;
  recipe.theta = config.number("rope_theta", {1.001, 1e15}).value_or(10000.0);
  const auto partial = config.number("partial_rotary_factor", {0.0, 1.0});
  recipe.dims = std::max(2, static_cast<int>(dims * partial.value_or(1.0)));
  return make_rope(recipe);
}

void read_latent(Fields& config, AttentionSpec& a) {
  LatentSpec latent;
  latent.kv_rank = needed(config, {"kv_lora_rank"}, kDims);
  latent.nope_dim = needed(config, {"qk_nope_head_dim"}, {0, kMaxHeadDim});
  latent.rope_dim = needed(config, {"qk_rope_head_dim"}, {1, kMaxHeadDim});
  if (const auto rank = config.integer("q_lora_rank", kDims)) {
    latent.q_rank = static_cast<int>(*rank);
  }
  a.head_dim = latent.nope_dim + latent.rope_dim;
  a.value_dim = needed(config, {"v_head_dim"}, {1, kMaxHeadDim});
  a.latent = latent;
}

void read_head_dim(Fields& config, int dim, AttentionSpec& a) {
  const auto given = config.integer("head_dim", {1, kMaxHeadDim});
  if (!given && (dim % a.heads != 0 || dim / a.heads > kMaxHeadDim)) {
    config.refuse(
        "num_attention_heads",
        "hidden_size must be a multiple of it where there is no head_dim");
  }
  a.head_dim = given ? static_cast<int>(*given) : dim / a.heads;
}

AttentionSpec read_attention(
    Fields& config,
    const PlannedFamily& family,
    int dim) {
  AttentionSpec a;
  a.heads = needed(config, {"num_attention_heads", "n_head"}, kDims);
  a.kv_heads = size_or(config, "num_key_value_heads", a.heads);
  if (config.object().contains("kv_lora_rank")) {
    read_latent(config, a);
  } else {
    read_head_dim(config, dim, a);
  }
  product(config, "num_attention_heads", a.heads, a.head_dim);
  if (a.heads % a.kv_heads != 0) {
    config.refuse("num_key_value_heads", "It must divide the heads evenly");
  }
  const bool given = config.flag("attention_bias").value_or(false) ||
                     config.flag("use_qkv_bias").value_or(false);
  a.qkv_bias = family.qkv_bias || given;
  a.output_bias = family.output_bias;
  const bool normed =
      !family.qk_norm_field || config.flag("use_qk_norm").value_or(false);
  a.qk_norm = normed ? family.qk_norm : QkNorm::none;
  a.scale = 1.0f / std::sqrt(static_cast<float>(a.head_dim));
  a.sinks = family.sinks;
  a.output_gate = family.output_gate;
  if (!family.learned_positions) {
    a.rope =
        read_simple_rope(config, a.latent ? a.latent->rope_dim : a.head_dim);
  }
  return a;
}

RecurrentSpec read_gated_delta(Fields& config) {
  RecurrentSpec r;
  r.kind = RecurrentKind::gated_delta;
  r.heads = needed(config, {"linear_num_value_heads"}, {1, 4096});
  r.key_heads = needed(config, {"linear_num_key_heads"}, {1, 4096});
  r.head_dim = needed(config, {"linear_value_head_dim"}, {1, kMaxHeadDim});
  r.state_dim = needed(config, {"linear_key_head_dim"}, {1, kMaxHeadDim});
  r.conv_width = size_or(config, "linear_conv_kernel_dim", 4, {1, 64});
  r.conv_channels = 2 * r.key_heads * r.state_dim + r.heads * r.head_dim;
  return r;
}

RecurrentSpec read_mamba(Fields& config, int dim) {
  RecurrentSpec r;
  r.kind = RecurrentKind::mamba2;
  const IntRange heads{1, 4096};
  const int expand =
      any_of(config, {"mamba_expand", "expand"}, {1, 16}).value_or(2);
  r.head_dim = any_of(config, {"mamba_d_head", "head_dim"}, {1, kMaxHeadDim})
                   .value_or(64);
  r.heads = any_of(config, {"mamba_n_heads", "num_heads"}, heads)
                .value_or(std::clamp(expand * dim / r.head_dim, 1, 4096));
  r.key_heads =
      any_of(config, {"mamba_n_groups", "n_groups"}, heads).value_or(1);
  r.state_dim =
      any_of(config, {"mamba_d_state", "state_size"}, {1, kMaxHeadDim})
          .value_or(128);
  r.conv_width =
      any_of(config, {"mamba_d_conv", "conv_kernel"}, {1, 64}).value_or(4);
  r.conv_channels = r.heads * r.head_dim + 2 * r.key_heads * r.state_dim;
  r.conv_bias = config.flag("mamba_conv_bias").value_or(true);
  r.input_bias = config.flag("mamba_proj_bias").value_or(false);
  r.output_bias = r.input_bias;
  return r;
}

RecurrentSpec read_short_conv(Fields& config, int dim) {
  RecurrentSpec r;
  r.kind = RecurrentKind::short_conv;
  r.conv_width = size_or(config, "conv_L_cache", 3, {1, 64});
  r.conv_channels = dim;
  r.conv_bias = config.flag("conv_bias").value_or(false);
  r.input_bias = r.conv_bias;
  r.output_bias = r.conv_bias;
  return r;
}

RecurrentSpec read_recurrent(
    Fields& config,
    const PlannedFamily& family,
    int dim) {
  switch (family.recurrent_kind) {
    case RecurrentKind::gated_delta:
      return read_gated_delta(config);
    case RecurrentKind::short_conv:
      return read_short_conv(config, dim);
    case RecurrentKind::mamba2:
      break;
  }
  return read_mamba(config, dim);
}

int read_shared_hidden(
    Fields& config,
    const PlannedFamily& family,
    int expert_hidden) {
  if (family.shared_like_expert) {
    return expert_hidden;
  }
  const auto width = any_of(
      config,
      {"shared_expert_intermediate_size", "shared_intermediate_size"},
      kNoneOrDims);
  if (width) {
    return *width;
  }
  const auto count = size_or(config, "n_shared_experts", 0, {0, 64});
  return product(config, "n_shared_experts", count, expert_hidden);
}

std::optional<MixtureSpec> read_mixture(
    Fields& config,
    const PlannedFamily& family,
    int hidden) {
  const auto experts = any_of(
      config,
      {"num_local_experts", "num_experts", "n_routed_experts"},
      {0, 1 << 16});
  if (!experts || *experts == 0) {
    return std::nullopt;
  }
  MixtureSpec m;
  m.experts = *experts;
  m.top_k = needed(
      config,
      {"num_experts_per_tok", "experts_per_token"},
      {1, m.experts});
  m.expert_hidden = size_or(config, "moe_intermediate_size", hidden);
  if (std::int64_t{m.experts} * m.expert_hidden > kMaxExpertRows) {
    config.refuse("moe_intermediate_size", "Times the experts it is too much");
  }
  m.score = family.score;
  m.renormalise = config.flag("norm_topk_prob").value_or(true);
  m.scale = static_cast<float>(
      config.number("routed_scaling_factor", {0.0, 1e6}).value_or(1.0));
  m.selection_bias = family.selection_bias;
  m.router_bias = family.router_bias;
  m.expert_bias = family.bias;
  m.groups = size_or(config, "n_group", 1, {1, 1 << 16});
  m.top_groups = size_or(config, "topk_group", 1, {1, 1 << 16});
  m.shared_hidden = read_shared_hidden(config, family, m.expert_hidden);
  m.shared_gate = family.shared_gate && m.shared_hidden > 0;
  return m;
}

int read_hidden(Fields& config, int dim) {
  const auto given = any_of(
      config,
      {"intermediate_size", "block_ff_dim", "n_inner"},
      kNoneOrDims);
  int hidden = given ? *given : product(config, "hidden_size", 4, dim);
  // The width is cut by a third, then rounded up.
  if (config.flag("block_auto_adjust_ff_dim").value_or(false)) {
    const int multiple = size_or(config, "block_multiple_of", 256, {1, 65536});
    const int cut = 2 * hidden / 3;
    hidden = (cut + multiple - 1) / multiple * multiple;
  }
  return hidden;
}

bool has_experts(Fields& config, std::size_t layer) {
  const auto at = static_cast<std::int64_t>(layer);
  const IntRange range{0, kMaxLayers};
  const auto first = config.integer("first_k_dense_replace", range);
  if (at < first.value_or(0)) {
    return false;
  }
  const auto step = any_of(
      config,
      {"decoder_sparse_step", "interleave_moe_layer_step", "moe_layer_freq"},
      {1, kMaxLayers});
  if ((at + 1) % step.value_or(1) != 0) {
    return false;
  }
  const auto dense = config.integers("mlp_only_layers", range, kMaxLayers);
  return !dense || std::find(dense->begin(), dense->end(), at) == dense->end();
}

enum class Kind { full, window, recurrent };

Kind kind_named(Fields& config, const Json& type) {
  for (std::string_view name : {"full_attention", "attention"}) {
    if (type == name) {
      return Kind::full;
    }
  }
  for (std::string_view name : {"sliding_attention", "chunked_attention"}) {
    if (type == name) {
      return Kind::window;
    }
  }
  for (std::string_view name : {"linear_attention", "mamba", "conv"}) {
    if (type == name) {
      return Kind::recurrent;
    }
  }
  config.refuse("layer_types", fmt::format("{} isn't known", shown(type)));
}

/// Every so many-th layer sees all; the field may be "LLLG" too.
std::int64_t read_pattern(Fields& config, const PlannedFamily& family) {
  const Json* given = config.find("sliding_window_pattern");
  if (given && given->is_string()) {
    const auto length = given->get_ref<const std::string&>().size();
    return std::clamp<std::int64_t>(
        static_cast<std::int64_t>(length),
        1,
        kMaxLayers);
  }
  return size_or(
      config,
      "sliding_window_pattern",
      family.window_pattern,
      {1, kMaxLayers});
}

std::vector<Kind> kinds_by_rule(
    Fields& config,
    const PlannedFamily& family,
    std::size_t layers) {
  const Kind most = family.recurrent      ? Kind::recurrent
                    : family.all_windowed ? Kind::window
                                          : Kind::full;
  std::vector<Kind> out(layers, most);
  const auto listed =
      config.integers("full_attn_idxs", {0, kMaxLayers}, kMaxLayers);
  for (const std::int64_t index :
       listed.value_or(std::vector<std::int64_t>())) {
    if (static_cast<std::size_t>(index) < layers) {
      out[static_cast<std::size_t>(index)] = Kind::full;
    }
  }
  const auto interval = size_or(
      config,
      "full_attention_interval",
      family.full_attention_interval,
      {1, kMaxLayers});
  const std::int64_t pattern =
      family.window_pattern > 0 ? read_pattern(config, family) : 0;
  for (std::size_t i = 0; i < layers; ++i) {
    const auto place = static_cast<std::int64_t>(i) + 1;
    if (interval > 0 && place % interval == 0) {
      out[i] = Kind::full;
    }
    if (pattern > 0 && place % pattern != 0) {
      out[i] = Kind::window;
    }
  }
  return out;
}

std::vector<Kind> read_kinds(
    Fields& config,
    const PlannedFamily& family,
    std::size_t layers) {
  const Json* types = config.find("layer_types");
  if (!types) {
    return kinds_by_rule(config, family, layers);
  }
  if (!types->is_array() || types->size() != layers) {
    config.refuse(
        "layer_types",
        fmt::format("There must be one name for each of {} layers", layers));
  }
  std::vector<Kind> out;
  for (const Json& type : *types) {
    out.push_back(kind_named(config, type));
  }
  return out;
}

LayerSpec read_norms(Fields& config, const PlannedFamily& family) {
  LayerSpec layer;
  layer.attention.reset();
  layer.feed_forward.reset();
  layer.norm_placement = family.norm_placement;
  layer.norm.kind = family.norm_kind;
  layer.norm.bias = family.norm_bias;
  for (std::string_view name : {"rms_norm_eps", "layer_norm_eps"}) {
    const auto eps = config.number(name, {0.0, 1.0});
    layer.norm.eps = eps ? static_cast<float>(*eps) : layer.norm.eps;
  }
  return layer;
}

/// What the layers of a model are made from.
struct Parts {
  std::optional<AttentionSpec> attention;
  std::optional<RecurrentSpec> recurrent;
  std::optional<FeedForwardSpec> dense;
  std::optional<MixtureSpec> mixture;
  std::optional<int> window;
};

Parts read_parts(
    Fields& config,
    const PlannedFamily& family,
    int dim,
    const std::vector<Kind>& kinds) {
  Parts parts;
  const bool only_recurrent =
      !family.side_by_side &&
      std::all_of(kinds.begin(), kinds.end(), [](Kind kind) {
        return kind == Kind::recurrent;
      });
  if (!only_recurrent) {
    parts.attention = read_attention(config, family, dim);
  }
  if (family.recurrent) {
    parts.recurrent = read_recurrent(config, family, dim);
  }
  parts.window =
      any_of(config, {"sliding_window", "attention_chunk_size"}, {1, 1 << 30});
  const bool has_feed_forward = !only_recurrent;
  if (!has_feed_forward) {
    return parts;
  }
  const int hidden = read_hidden(config, dim);
  parts.mixture = read_mixture(config, family, hidden);
  FeedForwardSpec dense;
  dense.hidden =
      any_of(config, {"intermediate_size_mlp"}, kDims).value_or(hidden);
  dense.activation = family.activation;
  dense.gated = family.gated;
  dense.bias = family.bias;
  parts.dense = dense;
  return parts;
}

void read_planned_layers(
    Fields& config,
    const PlannedFamily& family,
    ModelSpec& spec) {
  const LayerSpec layer = read_norms(config, family);
  const auto count = static_cast<std::size_t>(
      needed(config, {"num_hidden_layers", "n_layer"}, {1, kMaxLayers}));
  const std::vector<Kind> kinds = read_kinds(config, family, count);
  const Parts parts = read_parts(config, family, spec.dim, kinds);
  spec.final_norm = layer.norm;
  spec.layers.assign(count, layer);
  for (std::size_t i = 0; i < count; ++i) {
    LayerSpec& own = spec.layers[i];
    const bool recurrent = kinds[i] == Kind::recurrent;
    if (recurrent && !parts.recurrent) {
      config.refuse("layer_types", "The family has no recurrent layers");
    }
    if (!recurrent || family.side_by_side) {
      own.attention = parts.attention;
    }
    own.recurrent = recurrent ? parts.recurrent : std::nullopt;
    if (kinds[i] == Kind::window) {
      own.attention->window_tokens = parts.window;
    }
    own.feed_forward = parts.dense;
    if (parts.mixture && own.feed_forward && has_experts(config, i)) {
      own.feed_forward->hidden = 0;
      own.feed_forward->mixture = parts.mixture;
    }
  }
}

}  // namespace

ModelSpec read_planned(Fields& config, const PlannedFamily& family) {
  ModelSpec spec;
  spec.plan_only = true;
  spec.family = family.name;
  spec.dim = needed(config, {"hidden_size", "n_embd"}, kDims);
  spec.vocab = needed(config, {"vocab_size"}, {1, kMaxVocab});
  const IntRange context{1, 1 << 30};
  spec.context_tokens =
      any_of(config, {"max_position_embeddings", "n_positions"}, context)
          .value_or(2048);
  if (family.learned_positions) {
    spec.learned_positions = static_cast<int>(spec.context_tokens);
  }
  spec.tied_embeddings =
      config.flag("tie_word_embeddings").value_or(family.tied);
  read_planned_layers(config, family, spec);
  return spec;
}

}  // namespace roofline
