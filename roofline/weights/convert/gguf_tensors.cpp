#include "roofline/weights/convert/gguf_tensors.h"

#include <array>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "roofline/spec/tensor_names.h"
#include "roofline/weights/convert/gguf_metadata.h"
#include "roofline/weights/convert/gguf_mixture.h"

namespace roofline {

namespace {

struct Name {
  std::string_view ours;
  std::string_view gguf;
};

constexpr std::array<Name, 4> kModelNames = {{
    {"embed", "token_embd"},
    {"positions", "position_embd"},
    {"final_norm", "output_norm"},
    {"head", "output"},
}};

constexpr std::array<Name, 21> kLayerNames = {{
    {"attention_norm", "attn_norm"},
    {"attention_post_norm", "post_attention_norm"},
    {"feed_forward_norm", "ffn_norm"},
    {"feed_forward_post_norm", "post_ffw_norm"},
    {"attention.q", "attn_q"},
    {"attention.k", "attn_k"},
    {"attention.v", "attn_v"},
    {"attention.o", "attn_output"},
    {"attention.q_a", "attn_q_a"},
    {"attention.q_a_norm", "attn_q_a_norm"},
    {"attention.q_b", "attn_q_b"},
    {"attention.kv_a", "attn_kv_a_mqa"},
    {"attention.kv_a_norm", "attn_kv_a_norm"},
    {"attention.k_b", "attn_k_b"},
    {"attention.v_b", "attn_v_b"},
    {"attention.q_norm", "attn_q_norm"},
    {"attention.k_norm", "attn_k_norm"},
    {"attention.output_norm", "attn_sub_norm"},
    {"feed_forward.gate", "ffn_gate"},
    {"feed_forward.up", "ffn_up"},
    {"feed_forward.down", "ffn_down"},
}};

/// "attention.q" → "attn_q"; "" for a name without one.
template <std::size_t N>
std::string_view gguf_name(
    const std::array<Name, N>& names,
    std::string_view ours) {
  for (const Name& name : names) {
    if (name.ours == ours) {
      return name.gguf;
    }
  }
  return "";
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
      add(tensor.name);
    }
    if (spec_.tied_embeddings && !architecture_.tied) {
      GgufSource head;
      head.name = "output.weight";
      head.ours = {"embed"};
      out_.push_back(std::move(head));
    }
    return std::move(out_);
  }

 private:
  void add(const std::string& ours) {
    constexpr std::string_view kBias = ".bias";
    std::string_view base = ours;
    const bool bias = base.ends_with(kBias);
    base.remove_suffix(bias ? kBias.size() : 0);
    GgufSource source;
    source.ours = {ours};
    std::string_view name;
    std::string prefix;
    if (base.starts_with("layers.")) {
      const std::size_t dot = base.find('.', 7);
      const std::size_t layer = std::stoul(std::string(base.substr(7)));
      const std::string_view rest = base.substr(dot + 1);
      if (pack(base.substr(0, dot + 1), rest, bias)) {
        return;
      }
      prefix = fmt::format("blk.{}.", layer);
      if (add_mixture(ours, rest, prefix, layer) ||
          add_latent(ours, rest, prefix, layer)) {
        return;
      }
      name = own_name(rest);
      name = name.empty() ? gguf_name(kLayerNames, rest) : name;
      settle_change(source, rest, layer, bias);
    } else {
      name = gguf_name(kModelNames, base);
      if (base == "final_norm" && !bias && spec_.final_norm.plus_one) {
        source.change = GgufChange::add_one;
      }
    }
    if (name.empty()) {
      refuse_gguf(fmt::format("GGUF has no name for {}", ours));
    }
    source.name =
        fmt::format("{}{}{}", prefix, name, bias ? ".bias" : ".weight");
    out_.push_back(std::move(source));
  }

  bool add_mixture(
      const std::string& ours,
      std::string_view rest,
      const std::string& prefix,
      std::size_t layer) {
    auto sources = gguf_mixture_sources(ours, rest, spec_.layers[layer]);
    for (GgufSource& source : sources) {
      source.name = prefix + source.name;
      out_.push_back(std::move(source));
    }
    return !sources.empty();
  }

  /// What this architecture alone calls a tensor; "" where it has no own name.
  std::string_view own_name(std::string_view rest) const {
    const bool own = architecture_.late_norm && rest == "feed_forward_norm";
    return own ? "post_attention_norm" : "";
  }

  /// What makes keys and values of a latent: one matrix here, and two with a
  /// plane for each head there.
  bool add_latent(
      const std::string& ours,
      std::string_view rest,
      const std::string& prefix,
      std::size_t layer) {
    const bool both = rest == "attention.kv_b";
    if (!both && rest != "attention.k_b" && rest != "attention.v_b") {
      return false;
    }
    const AttentionSpec& attention = *spec_.layers[layer].attention;
    GgufSource source;
    source.ours = {ours};
    source.planes = attention.heads;
    source.key_dims = attention.latent->nope_dim;
    if (both || rest == "attention.k_b") {
      source.name = prefix + "attn_k_b.weight";
      source.change = both ? GgufChange::latent_keys : GgufChange::none;
      out_.push_back(source);
    }
    if (both || rest == "attention.v_b") {
      source.name = prefix + "attn_v_b.weight";
      source.change = both ? GgufChange::latent_values : GgufChange::none;
      out_.push_back(source);
    }
    return true;
  }

  void settle_change(
      GgufSource& source,
      std::string_view rest,
      std::size_t layer,
      bool bias) const {
    const AttentionSpec& attention = *spec_.layers[layer].attention;
    if (attention.qk_norm == QkNorm::per_head_own &&
        (rest == "attention.q_norm" || rest == "attention.k_norm")) {
      source.vector_cols = attention.head_dim;
    }
    const bool turned = !attention.latent &&
                        family_.gguf_rope_layout == RopeLayout::interleaved &&
                        (rest == "attention.q" || rest == "attention.k");
    if (turned) {
      source.change = GgufChange::turn_heads;
      source.heads =
          rest == "attention.q" ? attention.heads : attention.kv_heads;
    } else if (
        rest.ends_with("norm") && !bias && spec_.layers[layer].norm.plus_one) {
      source.change = GgufChange::add_one;
    }
  }

  /// Lists the tensor that this one is a part of; false where it stands alone.
  bool pack(std::string_view layer, std::string_view rest, bool bias) {
    const auto is = [&](std::string_view a) { return rest == a; };
    const bool qkv =
        is("attention.q") || is("attention.k") || is("attention.v");
    const bool gate_up = is("feed_forward.gate") || is("feed_forward.up");
    if (!(qkv && architecture_.packed_qkv) &&
        !(gate_up && architecture_.packed_gate_up)) {
      return false;
    }
    if (is("attention.q") || is("feed_forward.gate")) {
      GgufSource source;
      const std::string number(layer.substr(7, layer.size() - 8));
      source.name = fmt::format(
          "blk.{}.{}.{}",
          number,
          qkv ? "attn_qkv" : "ffn_up",
          bias ? "bias" : "weight");
      const std::vector<std::string_view> parts =
          qkv ? std::vector<
                    std::
                        string_view>{"attention.q", "attention.k", "attention.v"}
              : std::vector<std::string_view>{
                    "feed_forward.gate",
                    "feed_forward.up"};
      for (const std::string_view part : parts) {
        source.ours.push_back(
            fmt::format("{}{}{}", layer, part, bias ? ".bias" : ""));
      }
      out_.push_back(std::move(source));
    }
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
