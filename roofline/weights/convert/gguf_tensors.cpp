#include "roofline/weights/convert/gguf_tensors.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "roofline/spec/gguf_names.h"
#include "roofline/spec/tensor_names.h"
#include "roofline/weights/convert/gguf_folding.h"
#include "roofline/weights/convert/gguf_metadata.h"
#include "roofline/weights/convert/gguf_mixture.h"
#include "roofline/weights/convert/gguf_recurrent.h"

namespace roofline {

namespace {

constexpr std::string_view kRecurrent = "recurrent.";

struct Packed {
  std::string_view name;
  std::array<std::string_view, 3> parts;
};
constexpr Packed kQkv = {
    "attn_qkv",
    {"attention.q", "attention.k", "attention.v"}};
constexpr Packed kGateUp = {
    "ffn_up",
    {"feed_forward.gate", "feed_forward.up", ""}};

/// One of our tensors: "layers.3.attention.q.bias" in its parts.
struct Ours {
  explicit Ours(const std::string& name) : whole(name) {
    std::string_view base = whole;
    bias = base.ends_with(".bias");
    base.remove_suffix(bias ? 5 : 0);
    if (base.starts_with("layers.")) {
      layer = std::stoi(whole.substr(7));
      base.remove_prefix(base.find('.', 7) + 1);
    }
    rest = base;
  }
  /// Another tensor of the same layer.
  std::string sibling(std::string_view name) const {
    return fmt::format("layers.{}.{}{}", layer, name, bias ? ".bias" : "");
  }

  std::string whole;
  std::string rest;  ///< without "layers.N." and ".bias"
  int layer = -1;    ///< -1: of the model
  bool bias = false;
};

/// Pair i of a head is at i and i + half here, at 2i and 2i + 1 there.
std::vector<std::int64_t> paired_rows(int heads, int head_dim) {
  std::vector<std::int64_t> out;
  for (std::int64_t head = 0; head < heads; ++head) {
    for (int i = 0; i < head_dim; ++i) {
      out.push_back(head * head_dim + i % 2 * (head_dim / 2) + i / 2);
    }
  }
  return out;
}

class TensorLister {
 public:
  TensorLister(
      const ModelSpec& spec,
      const Family& family,
      const GgufArchitecture& architecture)
      : spec_(spec), family_(family), architecture_(architecture) {}

  std::vector<GgufSource> list() {
    for (const ExpectedTensor& tensor : expected_tensors(spec_)) {
      add(Ours(tensor.name));
    }
    // What the file's embedding has in it, its head may not have.
    const bool apart = architecture_.folds_factors &&
                       spec_.embedding_scale != spec_.logit_scale;
    if (spec_.tied_embeddings && (!architecture_.tied || apart)) {
      GgufSource head;
      head.name = "output.weight";
      head.ours = {"embed"};
      fold(head, "head", false, nullptr);
      out_.push_back(std::move(head));
    }
    return std::move(out_);
  }

 private:
  void add(const Ours& ours) {
    if (ours.layer < 0) {
      add_to_model(ours);
      return;
    }
    const LayerSpec& layer = spec_.layers[static_cast<std::size_t>(ours.layer)];
    if (pack(ours, kQkv, architecture_.packed_qkv) ||
        pack(ours, kGateUp, architecture_.packed_gate_up)) {
      return;
    }
    for (GgufSource& source : sources_of(ours, layer)) {
      if (architecture_.folds_factors) {
        fold(source, ours.rest, ours.bias, &layer);
      }
      source.name = fmt::format("blk.{}.{}", ours.layer, source.name);
      out_.push_back(std::move(source));
    }
  }

  std::vector<GgufSource> sources_of(const Ours& ours, const LayerSpec& layer) {
    std::vector<GgufSource> out;
    if (layer.recurrent && ours.rest.starts_with(kRecurrent)) {
      out = gguf_recurrent_sources(
          ours.whole,
          std::string_view(ours.rest).substr(kRecurrent.size()),
          *layer.recurrent,
          architecture_);
    } else if (ours.rest == "feed_forward.experts.gate_up") {
      out = gguf_packed_experts(ours.whole, layer);
    } else if (ours.rest == "attention.kv_b") {
      out = latent_sources(ours, layer);
    } else {
      out.push_back(usual_source(ours, layer));
    }
    if (out.empty()) {
      refuse_gguf(fmt::format("GGUF has no name for {}", ours.whole));
    }
    return out;
  }

  std::string_view name_of(const Ours& ours, const LayerSpec& layer) const {
    if (architecture_.late_norm && ours.rest == "feed_forward_norm") {
      return "post_attention_norm";
    }
    const auto name = gguf_name(ours.rest, &layer, architecture_.name);
    if (name.empty()) {
      refuse_gguf(fmt::format("GGUF has no name for {}", ours.whole));
    }
    return name;
  }

  GgufSource usual_source(const Ours& ours, const LayerSpec& layer) const {
    const std::string_view name = name_of(ours, layer);
    GgufSource source;
    source.ours = {ours.whole};
    source.name = architecture_.bare_ffn_norm && name == "ffn_norm"
                      ? std::string(name)
                      : with_gguf_ending(name, ours.bias);
    if (ours.rest.starts_with("feed_forward.experts.")) {
      source.experts = layer.feed_forward->mixture->experts;
    }
    if (layer.attention) {
      settle_attention(source, ours, *layer.attention);
    }
    if (ours.rest.ends_with("norm") && !ours.bias && layer.norm.plus_one) {
      source.change = GgufChange::add_one;
    }
    return source;
  }

  void settle_attention(
      GgufSource& source,
      const Ours& ours,
      const AttentionSpec& attention) const {
    const bool queries = ours.rest.starts_with("attention.q");
    const int heads = queries ? attention.heads : attention.kv_heads;
    const std::string_view rest = ours.rest;
    if (attention.qk_norm == QkNorm::per_head_own &&
        (rest == "attention.q_norm" || rest == "attention.k_norm")) {
      source.sizes = {attention.head_dim, heads};
    } else if (rest == "attention.k_b" || rest == "attention.v_b") {
      source.planes = attention.heads;
    } else if (
        !attention.latent && (rest == "attention.q" || rest == "attention.k") &&
        family_.gguf_rope_layout == RopeLayout::interleaved) {
      source.rows = paired_rows(heads, attention.head_dim);
    }
  }

  /// What makes keys and values of a latent: one matrix here, and two with a
  /// plane for each head there.
  static std::vector<GgufSource> latent_sources(
      const Ours& ours,
      const LayerSpec& layer) {
    const AttentionSpec& attention = *layer.attention;
    GgufSource keys;
    keys.ours = {ours.whole};
    keys.name = "attn_k_b.weight";
    keys.planes = attention.heads;
    GgufSource values = keys;
    keys.change = GgufChange::latent_keys;
    keys.key_dims = attention.latent->nope_dim;
    values.name = "attn_v_b.weight";
    const int dims = attention.value_dim.value_or(attention.head_dim);
    for (std::int64_t head = 0; head < attention.heads; ++head) {
      for (int i = 0; i < dims; ++i) {
        values.rows.push_back(
            head * (keys.key_dims + dims) + keys.key_dims + i);
      }
    }
    return {keys, values};
  }

  void add_to_model(const Ours& ours) {
    GgufSource source;
    source.ours = {ours.whole};
    std::string_view rest = ours.rest;
    if (rest.starts_with("streams.")) {
      if (!rest.ends_with(".0")) {
        return;  // taken with the first one
      }
      rest.remove_suffix(2);
      source.planes = spec_.streams->count - 1;
      for (int i = 1; i < source.planes; ++i) {
        source.ours.push_back(fmt::format("{}.{}", rest, i));
      }
    }
    const auto name = gguf_name(rest, nullptr, architecture_.name);
    if (name.empty()) {
      refuse_gguf(fmt::format("GGUF has no name for {}", ours.whole));
    }
    source.name = with_gguf_ending(name, ours.bias);
    if (rest == "final_norm" && !ours.bias && spec_.final_norm.plus_one) {
      source.change = GgufChange::add_one;
    }
    if (rest == "per_layer.embed") {
      // Tokens past that table's rows have the first one's.
      for (int i = 0; i < spec_.vocab; ++i) {
        const bool known = i < spec_.per_layer_vocab.value_or(spec_.vocab);
        source.rows.push_back(known ? i : 0);
      }
    }
    if (architecture_.folds_factors) {
      fold(source, rest, ours.bias, nullptr);
    }
    out_.push_back(std::move(source));
  }

  void fold(
      GgufSource& source,
      std::string_view name,
      bool bias,
      const LayerSpec* layer) const {
    source.factors = folded_factors(name, bias, spec_, layer);
  }

  /// Lists the tensor that this one is a part of; false where it stands alone.
  bool pack(const Ours& ours, const Packed& packed, bool packs) {
    const auto place =
        std::find(packed.parts.begin(), packed.parts.end(), ours.rest);
    if (!packs || place == packed.parts.end()) {
      return false;
    }
    if (place != packed.parts.begin()) {
      return true;
    }
    GgufSource source;
    source.name = fmt::format(
        "blk.{}.{}",
        ours.layer,
        with_gguf_ending(packed.name, ours.bias));
    for (const std::string_view part : packed.parts) {
      if (!part.empty()) {
        source.ours.push_back(ours.sibling(part));
      }
    }
    out_.push_back(std::move(source));
    return true;
  }

  const ModelSpec& spec_;
  const Family& family_;
  const GgufArchitecture& architecture_;
  std::vector<GgufSource> out_;
};

}  // namespace

std::vector<GgufSource> list_gguf_tensors(
    const ModelSpec& spec,
    const Family& family,
    const GgufArchitecture& architecture) {
  return TensorLister(spec, family, architecture).list();
}

}  // namespace roofline
