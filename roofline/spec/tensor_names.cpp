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

namespace roofline {

namespace {

enum class Action {
  rename,
  split_qkv,             ///< rows of q, k, v one after another
  split_gate_up,         ///< rows of the gate, then those of up
  up_maybe_packed,       ///< split_gate_up in families that pack it
  norm_after_attention,  ///< its place tells which norm it is
  drop,
};

struct NameRow {
  std::string_view pattern;
  Action action = Action::rename;
  std::string_view target;
};

constexpr std::array kHfModel = {
    NameRow{"embed_tokens", Action::rename, "embed"},
    NameRow{"norm", Action::rename, "final_norm"},
    NameRow{"lm_head", Action::rename, "head"},
    NameRow{"rotary_emb.inv_freq", Action::drop, ""},
};

constexpr std::array kHfLayer = {
    NameRow{"input_layernorm", Action::rename, "attention_norm"},
    NameRow{"post_attention_layernorm", Action::norm_after_attention, ""},
    NameRow{"pre_feedforward_layernorm", Action::rename, "feed_forward_norm"},
    NameRow{
        "post_feedforward_layernorm",
        Action::rename,
        "feed_forward_post_norm"},
    NameRow{"self_attn.q_proj", Action::rename, "attention.q"},
    NameRow{"self_attn.k_proj", Action::rename, "attention.k"},
    NameRow{"self_attn.v_proj", Action::rename, "attention.v"},
    NameRow{"self_attn.o_proj", Action::rename, "attention.o"},
    NameRow{"self_attn.qkv_proj", Action::split_qkv, ""},
    NameRow{"self_attn.q_norm", Action::rename, "attention.q_norm"},
    NameRow{"self_attn.k_norm", Action::rename, "attention.k_norm"},
    NameRow{"self_attn.rotary_emb.inv_freq", Action::drop, ""},
    NameRow{"mlp.gate_proj", Action::rename, "feed_forward.gate"},
    NameRow{"mlp.up_proj", Action::rename, "feed_forward.up"},
    NameRow{"mlp.down_proj", Action::rename, "feed_forward.down"},
    NameRow{"mlp.gate_up_proj", Action::split_gate_up, ""},
};

constexpr std::array kGgufModel = {
    NameRow{"token_embd", Action::rename, "embed"},
    NameRow{"output_norm", Action::rename, "final_norm"},
    NameRow{"output", Action::rename, "head"},
    // Read with the metadata, as part of the spec.
    NameRow{"rope_freqs", Action::drop, ""},
    NameRow{"rope_factors_long", Action::drop, ""},
    NameRow{"rope_factors_short", Action::drop, ""},
};

constexpr std::array kGgufLayer = {
    NameRow{"attn_norm", Action::rename, "attention_norm"},
    NameRow{"post_attention_norm", Action::rename, "attention_post_norm"},
    NameRow{"ffn_norm", Action::rename, "feed_forward_norm"},
    NameRow{"post_ffw_norm", Action::rename, "feed_forward_post_norm"},
    NameRow{"attn_q", Action::rename, "attention.q"},
    NameRow{"attn_k", Action::rename, "attention.k"},
    NameRow{"attn_v", Action::rename, "attention.v"},
    NameRow{"attn_output", Action::rename, "attention.o"},
    NameRow{"attn_qkv", Action::split_qkv, ""},
    NameRow{"attn_q_norm", Action::rename, "attention.q_norm"},
    NameRow{"attn_k_norm", Action::rename, "attention.k_norm"},
    NameRow{"attn_rot_embd", Action::drop, ""},
    NameRow{"rope_freqs", Action::drop, ""},
    NameRow{"ffn_gate", Action::rename, "feed_forward.gate"},
    NameRow{"ffn_up", Action::up_maybe_packed, "feed_forward.up"},
    NameRow{"ffn_down", Action::rename, "feed_forward.down"},
};

// Longer ones first: the first that fits is taken.
constexpr std::array<std::string_view, 4> kHfPrefixes = {
    "language_model.model.",
    "model.language_model.",
    "language_model.",
    "model."};

// Parts of multimodal checkpoints that a language model doesn't use.
constexpr std::array<std::string_view, 3> kDroppedParts = {
    "vision_tower.",
    "vision_model.",
    "multi_modal_projector."};

constexpr std::string_view kBias = ".bias";
constexpr std::size_t kLongestShown = 100;

struct Table {
  std::span<const NameRow> model;
  std::span<const NameRow> layer;
  std::string_view layer_prefix;
};

Table table_of(NameStyle style) {
  if (style == NameStyle::gguf) {
    return {kGgufModel, kGgufLayer, "blk."};
  }
  return {kHfModel, kHfLayer, "layers."};
}

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
    std::span<const NameRow> rows) {
  std::vector<std::string> patterns;
  for (const NameRow& row : rows) {
    patterns.emplace_back(row.pattern);
  }
  fail<CheckpointError>(
      fmt::format("There is a tensor {}", name.substr(0, kLongestShown)),
      "No rule knows what it is for",
      did_you_mean(rest, patterns));
}

const NameRow* find_row(
    std::span<const NameRow> rows,
    std::string_view pattern) {
  for (const NameRow& row : rows) {
    if (row.pattern == pattern) {
      return &row;
    }
  }
  return nullptr;
}

std::vector<NamedRows> split_qkv(const AttentionSpec& attention) {
  const std::int64_t q = std::int64_t{attention.heads} * attention.head_dim;
  const std::int64_t kv = std::int64_t{attention.kv_heads} * attention.head_dim;
  return {
      {"attention.q", 0, q},
      {"attention.k", q, kv},
      {"attention.v", q + kv, kv}};
}

std::vector<NamedRows> split_gate_up(const FeedForwardSpec& feed_forward) {
  const std::int64_t hidden = feed_forward.hidden;
  return {
      {"feed_forward.gate", 0, hidden},
      {"feed_forward.up", hidden, hidden}};
}

bool packs_gate_up(const ModelSpec& spec) {
  const Family* family = find_gguf_family(spec.family);
  return family && family->gguf_packed_gate_up;
}

std::vector<NamedRows> apply(
    const NameRow& row,
    const LayerSpec& layer,
    const ModelSpec& spec) {
  switch (row.action) {
    case Action::drop:
      return {};
    case Action::split_qkv:
      return split_qkv(*layer.attention);
    case Action::split_gate_up:
      return split_gate_up(*layer.feed_forward);
    case Action::up_maybe_packed:
      if (packs_gate_up(spec)) {
        return split_gate_up(*layer.feed_forward);
      }
      break;
    case Action::norm_after_attention:
      if (layer.norm_placement == NormPlacement::pre) {
        return {{"feed_forward_norm", 0, 0}};
      }
      return {{"attention_post_norm", 0, 0}};
    case Action::rename:
      break;
  }
  return {{std::string(row.target), 0, 0}};
}

std::vector<NamedRows> map_layer_name(
    std::string_view name,
    std::string_view rest,
    std::span<const NameRow> rows,
    const ModelSpec& spec) {
  const std::optional<std::size_t> number = take_layer(rest);
  if (!number) {
    refuse_name(name, rest, rows);
  }
  const NameRow* row = find_row(rows, rest);
  if (!row) {
    refuse_name(name, rest, rows);
  }
  if (*number >= spec.layers.size()) {
    fail<CheckpointError>(
        fmt::format("There is a tensor {}", name.substr(0, kLongestShown)),
        fmt::format("The model has {} layers only", spec.layers.size()),
        "Check that the weights belong to this config");
  }
  std::vector<NamedRows> out = apply(*row, spec.layers[*number], spec);
  for (NamedRows& part : out) {
    part.name = fmt::format("layers.{}.{}", *number, part.name);
  }
  return out;
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
  const Table table = table_of(style);
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
  const bool bias = take_suffix(rest, kBias);
  std::vector<NamedRows> out;
  if (take_prefix(rest, table.layer_prefix)) {
    out = map_layer_name(name, rest, table.layer, spec);
  } else {
    const NameRow* row = find_row(table.model, rest);
    if (!row) {
      refuse_name(name, rest, table.model);
    }
    if (row->action != Action::drop) {
      out = {{std::string(row->target), 0, 0}};
    }
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
  for (std::size_t i = 0; i < spec.layers.size(); ++i) {
    const auto has = [&](std::string_view name) {
      return present.find(fmt::format("layers.{}.{}", i, name)) !=
             present.end();
    };
    LayerSpec& layer = spec.layers[i];
    if (layer.attention) {
      layer.attention->qkv_bias |= has("attention.q.bias");
      layer.attention->output_bias |= has("attention.o.bias");
    }
    if (layer.feed_forward) {
      layer.feed_forward->bias |= has("feed_forward.down.bias");
    }
  }
}

}  // namespace roofline
