#include "roofline/spec/tensor_names.h"

#include <algorithm>
#include <array>
#include <optional>
#include <set>
#include <span>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/base/nearest.h"
#include "roofline/spec/families.h"
#include "roofline/spec/mixture_names.h"
#include "roofline/spec/recurrent_names.h"
#include "roofline/spec/tensor_name_rows.h"

namespace roofline {

namespace {

// Longer ones first: the first that fits is taken.
constexpr std::array<std::string_view, 8> kHfPrefixes = {
    "model.backbone.",
    "backbone.",
    "language_model.model.",
    "model.language_model.",
    "language_model.",
    "model.",
    "transformer.",
    "gpt_neox."};
/// MLX's layout keeps these under "model.".
constexpr std::string_view kMlxPrefix = "model.";

constexpr std::array<std::string_view, 2> kHfLayerPrefixes = {"layers.", "h."};
constexpr std::array<std::string_view, 1> kGgufLayerPrefixes = {"blk."};

// Parts that a language model doesn't use: of multimodal checkpoints, and what
// guesses further tokens.
constexpr std::array<std::string_view, 12> kDroppedParts = {
    "visual.",
    "mtp.",
    "vision_tower.",
    "vision_model.",
    "multi_modal_projector.",
    "audio_tower.",
    "embed_audio.",
    "embed_vision.",
    "mtp_block.",
    "mtp_emb_norm.",
    "mtp_hidden_norm.",
    "mtp_linear_proj."};

constexpr std::string_view kBias = ".bias";
constexpr std::size_t kLongestShown = 100;

bool take_prefix(std::string_view& text, std::string_view prefix) {
  if (text.substr(0, prefix.size()) != prefix) {
    return false;
  }
  text.remove_prefix(prefix.size());
  return true;
}

bool take_suffix(std::string_view& text, std::string_view suffix) {
  if (text.size() < suffix.size() ||
      text.substr(text.size() - suffix.size()) != suffix) {
    return false;
  }
  text.remove_suffix(suffix.size());
  return true;
}

/// "12." at the front becomes 12; nullopt when there is no such number.
std::optional<std::size_t> take_layer(std::string_view& text) {
  constexpr std::size_t kMostDigits = 6;
  std::size_t number = 0;
  std::size_t digits = 0;
  while (digits < text.size() && digits < kMostDigits && text[digits] >= '0' &&
         text[digits] <= '9') {
    number = number * 10 + static_cast<std::size_t>(text[digits] - '0');
    ++digits;
  }
  if (digits == 0 || digits >= text.size() || text[digits] != '.') {
    return std::nullopt;
  }
  text.remove_prefix(digits + 1);
  return number;
}

[[noreturn]] void refuse_name(
    std::string_view name,
    std::string_view rest,
    std::span<const NameRow> own,
    std::span<const NameRow> rows) {
  std::vector<std::string> patterns;
  for (const auto& each : {own, rows}) {
    for (const NameRow& row : each) {
      patterns.emplace_back(row.pattern);
    }
  }
  fail<CheckpointError>(
      fmt::format("There is a tensor {}", name.substr(0, kLongestShown)),
      "No rule knows what it is for",
      did_you_mean(rest, patterns));
}

/// The number that "*" at the end of a pattern stands for; nullopt when the
/// name doesn't fit.
std::optional<std::int64_t> number_in(
    std::string_view name,
    std::string_view pattern) {
  std::optional<std::int64_t> out;
  if (take_suffix(pattern, "*") && take_prefix(name, pattern)) {
    const std::string padded = std::string(name) + '.';
    std::string_view rest = padded;
    const auto number = take_layer(rest);
    if (number && rest.empty()) {
      out = static_cast<std::int64_t>(*number);
    }
  }
  return out;
}

struct Found {
  const NameRow* row = nullptr;
  std::int64_t number = 0;  ///< what "*" stands for
};

Found find_row(
    std::span<const NameRow> own,
    std::span<const NameRow> rows,
    std::string_view name) {
  for (const auto& each : {own, rows}) {
    for (const NameRow& row : each) {
      if (row.pattern == name) {
        return {&row, 0};
      }
      if (const auto number = number_in(name, row.pattern)) {
        return {&row, *number};
      }
    }
  }
  return {};
}

NamedRows named(std::string_view name) {
  NamedRows out;
  out.name = name;
  return out;
}

std::vector<NamedRows> qkv_in_turn(const AttentionSpec& attention) {
  const std::int64_t q = std::int64_t{attention.heads} * attention.head_dim;
  const std::int64_t kv = std::int64_t{attention.kv_heads} * attention.head_dim;
  return {
      {"attention.q", 0, q},
      {"attention.k", q, kv},
      {"attention.v", q + kv, kv}};
}

/// Each head has its rows of q, k and v together.
std::vector<NamedRows> qkv_of_heads(const AttentionSpec& attention) {
  const std::int64_t dims = attention.head_dim;
  std::vector<NamedRows> out;
  for (std::string_view name : {"q", "k", "v"}) {
    NamedRows part = named("attention." + std::string(name));
    part.row_begin = static_cast<std::int64_t>(out.size()) * dims;
    part.rows = dims;
    part.runs = attention.heads;
    part.run_stride = 3 * dims;
    out.push_back(part);
  }
  return out;
}

std::vector<NamedRows> gate_then_up(const FeedForwardSpec& feed_forward) {
  const std::int64_t hidden = feed_forward.hidden;
  return {
      {"feed_forward.gate", 0, hidden},
      {"feed_forward.up", hidden, hidden}};
}

std::vector<NamedRows> turn(std::vector<NamedRows> parts, bool mlx) {
  for (NamedRows& part : parts) {
    part.transposed = !mlx;
  }
  return parts;
}

/// mlx: the name is as MLX's layout has it.
std::vector<NamedRows> apply(
    const Found& found,
    const LayerSpec& layer,
    bool mlx) {
  const NameRow& row = *found.row;
  NamedRows renamed = named(row.target);
  switch (row.action) {
    case NameAction::drop:
      return {};
    case NameAction::split_qkv:
      return qkv_in_turn(*layer.attention);
    case NameAction::turned_qkv:
      return turn(qkv_in_turn(*layer.attention), mlx);
    case NameAction::qkv_by_head:
      return qkv_of_heads(*layer.attention);
    case NameAction::split_gate_up:
      return gate_then_up(*layer.feed_forward);
    case NameAction::norm_after_attention:
      return {named(
          layer.norm_placement == NormPlacement::pre ||
                  layer.norm_placement == NormPlacement::parallel_own_norms
              ? "feed_forward_norm"
              : "attention_post_norm")};
    case NameAction::query_head:
      renamed.stacked = {found.number, layer.attention->heads};
      break;
    case NameAction::key_head:
      renamed.stacked = {found.number, layer.attention->kv_heads};
      break;
    case NameAction::turned:
      return turn({renamed}, mlx);
    case NameAction::numbered:
      renamed.name += fmt::format(".{}", found.number);
      break;
    case NameAction::rename:
    case NameAction::split_streams:  // not in layers
      break;
  }
  return {renamed};
}

/// rest: behind the layer's number. mlx: as for apply.
std::optional<std::vector<NamedRows>> map_within_layer(
    std::string_view rest,
    const NameTable& table,
    const LayerSpec& layer,
    bool mlx) {
  const Found found = find_row(table.own_layer, table.layer, rest);
  return found.row ? std::optional(apply(found, layer, mlx)) : std::nullopt;
}

std::vector<NamedRows> map_layer_name(
    std::string_view name,
    std::string_view rest,
    NameStyle style,
    const ModelSpec& spec,
    bool& bias) {
  const NameTable table = name_table(style, spec.family);
  const std::optional<std::size_t> number = take_layer(rest);
  if (!number) {
    refuse_name(name, rest, table.own_layer, table.layer);
  }
  const bool beyond = *number >= spec.layers.size();
  const auto extra = static_cast<std::size_t>(spec.extra_layers);
  if (beyond && *number < spec.layers.size() + extra) {
    return {};
  }
  const LayerSpec& layer = spec.layers[beyond ? 0 : *number];
  const bool mlx = name.starts_with(kMlxPrefix);
  auto out = map_mixture_name(rest, style, layer, spec.family, bias);
  if (!out && has_recurrent_names(spec)) {
    out = map_recurrent_name(rest, style, layer);
  }
  if (!out) {
    out = map_within_layer(rest, table, layer, mlx);
  }
  if (!out) {
    refuse_name(name, rest, table.own_layer, table.layer);
  }
  if (beyond) {
    fail<CheckpointError>(
        fmt::format("There is a tensor {}", name.substr(0, kLongestShown)),
        fmt::format("The model has {} layers only", spec.layers.size()),
        "Check that the weights belong to this config");
  }
  if (layer.attention && layer.attention->shares_kv_of_layer) {
    // Files may have what the layer doesn't use.
    std::erase_if(*out, [](const NamedRows& part) {
      return part.name == "attention.k" || part.name == "attention.v" ||
             part.name == "attention.k_norm";
    });
  }
  for (NamedRows& part : *out) {
    part.name = fmt::format("layers.{}.{}", *number, part.name);
  }
  return *out;
}

/// For a tensor that belongs to no layer.
std::vector<NamedRows> apply_to_model(
    const Found& found,
    const ModelSpec& spec) {
  const NameRow& row = *found.row;
  if (row.action == NameAction::drop) {
    return {};
  }
  if (row.action == NameAction::numbered) {
    return {named(fmt::format("{}.{}", row.target, found.number))};
  }
  if (row.action != NameAction::split_streams) {
    return {named(row.target)};
  }
  std::vector<NamedRows> out;
  for (int i = 0; spec.streams && i + 1 < spec.streams->count; ++i) {
    out.push_back(
        {fmt::format("{}.{}", row.target, i),
         std::int64_t{i} * spec.dim,
         spec.dim});
  }
  return out;
}

bool take_layer_prefix(std::string_view& rest, NameStyle style) {
  const std::span<const std::string_view> prefixes =
      style == NameStyle::gguf
          ? std::span<const std::string_view>(kGgufLayerPrefixes)
          : std::span<const std::string_view>(kHfLayerPrefixes);
  return std::any_of(prefixes.begin(), prefixes.end(), [&](auto prefix) {
    return take_prefix(rest, prefix);
  });
}

}  // namespace

std::vector<NamedRows> map_tensor_name(
    std::string_view name,
    NameStyle style,
    const ModelSpec& spec) {
  if (spec.plan_only) {
    require_runnable(spec);
  }
  std::string_view rest = name;
  const NameTable table = name_table(style, spec.family);
  if (style == NameStyle::hugging_face) {
    std::string_view part = rest;
    take_prefix(part, "model.");
    for (std::string_view dropped : kDroppedParts) {
      if (take_prefix(part, dropped)) {
        return {};
      }
    }
    for (std::string_view prefix : kHfPrefixes) {
      if (take_prefix(rest, prefix)) {
        break;
      }
    }
  }
  bool bias = take_suffix(rest, kBias);
  std::vector<NamedRows> out;
  if (take_layer_prefix(rest, style)) {
    out = map_layer_name(name, rest, style, spec, bias);
  } else {
    const Found found = find_row(table.own_model, table.model, rest);
    if (!found.row) {
      refuse_name(name, rest, table.own_model, table.model);
    }
    out = apply_to_model(found, spec);
  }
  for (NamedRows& part : out) {
    part.name += bias ? kBias : "";
  }
  return out;
}

void settle_by_tensors(ModelSpec& spec, const std::vector<std::string>& names) {
  const std::set<std::string, std::less<>> present(names.begin(), names.end());
  if (present.find("head") == present.end()) {
    spec.tied_embeddings = true;
  }
  spec.head_bias |= present.find("head.bias") != present.end();
  const Family* family = find_gguf_family(spec.family);
  const bool optional_qk_norm = family && !family->qk_norm_rule.field.empty();
  for (std::size_t i = 0; i < spec.layers.size(); ++i) {
    const auto has = [&](std::string_view name) {
      return present.find(fmt::format("layers.{}.{}", i, name)) !=
             present.end();
    };
    LayerSpec& layer = spec.layers[i];
    layer.output_scalar &= has("output_scalar");
    if (layer.attention) {
      if (optional_qk_norm && !has("attention.q_norm")) {
        layer.attention->qk_norm = QkNorm::none;
      }
      if (family && family->full_head_dim) {
        layer.attention->values_are_keys =
            has("attention.k") && !has("attention.v");
      }
      layer.attention->qkv_bias |=
          has("attention.q.bias") || has("attention.kv_a.bias");
      layer.attention->output_bias |= has("attention.o.bias");
    }
    if (layer.recurrent) {
      RecurrentSpec& recurrent = *layer.recurrent;
      recurrent.conv_bias |= has("recurrent.conv.bias");
      recurrent.input_bias |= has("recurrent.in.bias");
      recurrent.output_bias |= has("recurrent.out.bias");
      recurrent.output_norm = has("recurrent.norm");
      recurrent.gates_together = has("recurrent.in_gates");
      // Older files have all parts in one matrix.
      recurrent.rows_by_key_head =
          recurrent.gates_together && !has("recurrent.in_gate");
    }
    if (layer.feed_forward) {
      layer.feed_forward->bias |=
          has("feed_forward.down.bias") || has("feed_forward.shared.down.bias");
    }
    if (layer.feed_forward && layer.feed_forward->mixture) {
      MixtureSpec& mixture = *layer.feed_forward->mixture;
      mixture.router_bias |= has("feed_forward.router.bias");
      mixture.selection_bias |= has("feed_forward.router.selection");
      mixture.expert_bias |= has("feed_forward.experts.down.bias");
    }
  }
}

void settle_layouts(ModelSpec& spec, const std::vector<std::string>& names) {
  const std::set<std::string, std::less<>> present(names.begin(), names.end());
  for (std::size_t i = 0; i < spec.layers.size(); ++i) {
    const auto has = [&](std::string_view name) {
      return present.contains(fmt::format("layers.{}.{}", i, name));
    };
    LayerSpec& layer = spec.layers[i];
    if (layer.attention && layer.attention->latent) {
      layer.attention->latent->split_up = has("attention.k_b");
    }
    if (layer.feed_forward && layer.feed_forward->mixture) {
      MixtureSpec& mixture = *layer.feed_forward->mixture;
      if (has("feed_forward.experts.gate_up")) {
        mixture.layout = ExpertLayout::interleaved;
      } else if (has("feed_forward.experts.transposed.gate_up")) {
        mixture.layout = ExpertLayout::transposed;
      }
    }
  }
}

}  // namespace roofline
