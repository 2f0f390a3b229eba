#include "roofline/weights/convert/gguf_model.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "roofline/base/errors.h"
#include "roofline/spec/read_config.h"
#include "roofline/spec/rope.h"
#include "roofline/spec/spec_agreement.h"
#include "roofline/spec/tensor_name_rows.h"
#include "roofline/spec/tensor_names.h"
#include "roofline/spec/write_config.h"
#include "roofline/weights/convert/gguf_mixture.h"

namespace roofline {

namespace {

using nlohmann::json;

struct Name {
  std::string_view ours;
  std::string_view gguf;
};

constexpr std::array<Name, 3> kModelNames = {{
    {"embed", "token_embd"},
    {"final_norm", "output_norm"},
    {"head", "output"},
}};

constexpr std::array<Name, 13> kLayerNames = {{
    {"attention_norm", "attn_norm"},
    {"attention_post_norm", "post_attention_norm"},
    {"feed_forward_norm", "ffn_norm"},
    {"feed_forward_post_norm", "post_ffw_norm"},
    {"attention.q", "attn_q"},
    {"attention.k", "attn_k"},
    {"attention.v", "attn_v"},
    {"attention.o", "attn_output"},
    {"attention.q_norm", "attn_q_norm"},
    {"attention.k_norm", "attn_k_norm"},
    {"feed_forward.gate", "ffn_gate"},
    {"feed_forward.up", "ffn_up"},
    {"feed_forward.down", "ffn_down"},
}};

/// Families whose files are another's.
constexpr std::array<Name, 3> kSameFiles = {{
    {"ministral", "llama"},
    {"mistral", "llama"},
    {"olmo2", "olmo3"},
}};

const Family& gguf_family_of(const ModelSpec& spec) {
  std::string_view name = spec.family;
  for (const Name& same : kSameFiles) {
    name = name == same.ours ? same.gguf : name;
  }
  const Family* family = find_family(name);
  std::vector<std::string> written = converted_gguf_architectures();
  for (std::string& mixture : gguf_mixture_architectures()) {
    written.push_back(std::move(mixture));
  }
  if (family != nullptr &&
      std::find(written.begin(), written.end(), family->gguf_name) !=
          written.end()) {
    return *family;
  }
  fail<UnsupportedError>(
      fmt::format("Can't write {} as GGUF", spec.family),
      fmt::format(
          "The architectures that can be written are {}",
          fmt::join(written, ", ")),
      "Convert it to MLX layout instead (--mlx-path)");
}

[[noreturn]] void refuse(const std::string& what) {
  fail<UnsupportedError>(
      "Can't write this model as GGUF",
      what,
      "Convert it to MLX layout instead (--mlx-path)");
}

const AttentionSpec& attention_of(const ModelSpec& spec, std::size_t layer) {
  if (!spec.layers[layer].attention || !spec.layers[layer].feed_forward) {
    refuse(fmt::format("Layer {} has no attention or no feed-forward", layer));
  }
  return *spec.layers[layer].attention;
}

/// The rope of the first layer with (or without) a window.
const RopeSpec* rope_where(const ModelSpec& spec, bool window) {
  for (const LayerSpec& layer : spec.layers) {
    if (layer.attention && layer.attention->rope &&
        layer.attention->window_tokens.has_value() == window) {
      return &*layer.attention->rope;
    }
  }
  return nullptr;
}

class MetadataMaker {
 public:
  MetadataMaker(const ModelSpec& spec, const json& config, const Family& family)
      : spec_(spec), config_(config), family_(family) {}

  GgufModel make() {
    if (spec_.layers.empty()) {
      refuse("It has no layers");
    }
    add_general();
    add_sizes();
    for (const auto& [name, size] : gguf_mixture_sizes(spec_)) {
      add_size(name, size);
    }
    add_attention();
    add_rope();
    add_scales();
    return std::move(model_);
  }

 private:
  void add(const std::string& name, GgufValue value) {
    model_.metadata.emplace_back(
        std::string(family_.gguf_name) + "." + name,
        std::move(value));
  }
  void add_size(const std::string& name, std::int64_t value) {
    add(name, static_cast<std::uint32_t>(value));
  }

  void add_general() {
    model_.metadata.emplace_back(
        "general.architecture",
        std::string(family_.gguf_name));
    model_.metadata.emplace_back("general.type", std::string("model"));
  }

  /// One number where all layers have it, else a list.
  template <class F>
  void add_per_layer(const std::string& name, F value_of) {
    std::vector<std::int32_t> values;
    for (std::size_t i = 0; i < spec_.layers.size(); ++i) {
      values.push_back(value_of(i));
    }
    const bool same = std::all_of(values.begin(), values.end(), [&](int v) {
      return v == values.front();
    });
    if (same) {
      add_size(name, values.front());
    } else {
      add(name, values);
    }
  }

  void add_sizes() {
    add_size("vocab_size", spec_.vocab);
    add_size("context_length", spec_.context_tokens);
    add_size("embedding_length", spec_.dim);
    add_size("block_count", static_cast<std::int64_t>(spec_.layers.size()));
    add_per_layer("feed_forward_length", [&](std::size_t i) {
      attention_of(spec_, i);
      const FeedForwardSpec& dense = *spec_.layers[i].feed_forward;
      return dense.hidden > 0 || !dense.mixture ? dense.hidden
                                                : dense.mixture->expert_hidden;
    });
  }

  void add_attention() {
    const AttentionSpec& first = attention_of(spec_, 0);
    add_per_layer("attention.head_count", [&](std::size_t i) {
      return attention_of(spec_, i).heads;
    });
    add_per_layer("attention.head_count_kv", [&](std::size_t i) {
      return attention_of(spec_, i).kv_heads;
    });
    add_size("attention.key_length", first.head_dim);
    add_size("attention.value_length", first.head_dim);
    add("attention.layer_norm_rms_epsilon", spec_.layers[0].norm.eps);
    std::optional<int> window;
    for (std::size_t i = 0; i < spec_.layers.size(); ++i) {
      const auto own = attention_of(spec_, i).window_tokens;
      window = window ? window : own;
    }
    // gemma2's readers take a window where the key is missing.
    if (window || family_.gguf_window_tokens) {
      add_size("attention.sliding_window", window.value_or(0));
    }
    if (family_.attention_softcap_field) {
      add("attn_logit_softcapping", first.softcap.value_or(0.0f));
    }
    if (family_.multipliers) {
      add("attention.scale", first.scale);
    }
  }

  void add_rope() {
    const RopeSpec* full = rope_where(spec_, false);
    const RopeSpec* sliding = rope_where(spec_, true);
    const RopeSpec* rope = full != nullptr ? full : sliding;
    if (rope == nullptr) {
      if (!family_.multipliers) {
        refuse("It has no positions");
      }
      add("rope.scaling.finetuned", false);  // how granite's files say so
      return;
    }
    add_size("rope.dimension_count", rope->rotated_dims);
    add("rope.freq_base", static_cast<float>(rope->theta));
    if (family_.local_rope_theta && sliding != nullptr && full != nullptr) {
      add("rope.freq_base_swa", static_cast<float>(sliding->theta));
    }
    add_scaling(*rope);
  }

  /// What the frequencies are divided by, one a pair.
  static std::vector<float> divisors(const RopeSpec& rope, std::size_t regime) {
    const std::vector<float> base =
        base_frequencies(static_cast<float>(rope.theta), rope.rotated_dims);
    std::vector<float> out;
    for (std::size_t i = 0; i < base.size(); ++i) {
      out.push_back(base[i] / rope.regimes[regime].frequencies[i]);
    }
    return out;
  }

  void add_scaling(const RopeSpec& rope) {
    if (rope.dynamic || rope.regimes.empty() || rope.regimes.size() > 2) {
      refuse("GGUF has no dynamic rope scaling");
    }
    if (rope.regimes.size() == 2) {
      add_longrope(rope);
      return;
    }
    const std::vector<float> by = divisors(rope, 0);
    const auto [low, high] = std::minmax_element(by.begin(), by.end());
    const bool same = *high - *low <= 1e-5f * *high;
    if (is_yarn()) {
      add_yarn();
    } else if (!same) {
      if (family_.gguf_name != "llama" && family_.gguf_name != "granite") {
        refuse(fmt::format(
            "llama.cpp reads rope_freqs for llama and granite only, not for {}",
            family_.gguf_name));
      }
      model_.factors.emplace_back("rope_freqs.weight", by);
    } else if (std::abs(*low - 1) > 1e-5f) {
      add("rope.scaling.type", std::string("linear"));
      add("rope.scaling.factor", *low);
    }
  }

  void add_longrope(const RopeSpec& rope) {
    if (family_.gguf_name != "phi3" && family_.gguf_name != "llama") {
      refuse(fmt::format(
          "llama.cpp reads longrope for phi3 and llama only, not for {}",
          family_.gguf_name));
    }
    if (rope.regimes[0].magnitude != rope.regimes[1].magnitude) {
      refuse("Its two rope regimes differ in magnitude");
    }
    model_.factors.emplace_back("rope_factors_short.weight", divisors(rope, 0));
    model_.factors.emplace_back("rope_factors_long.weight", divisors(rope, 1));
    add_size(
        "rope.scaling.original_context_length",
        rope.regimes[0].max_tokens);
    add("rope.scaling.attn_factor", rope.regimes[0].magnitude);
  }

  const json& scaling() const {
    static const json none = json::object();
    for (const char* name : {"rope_scaling", "rope_parameters"}) {
      const auto found = config_.find(name);
      if (found != config_.end() && found->is_object()) {
        return *found;
      }
    }
    return none;
  }

  bool is_yarn() const {
    const std::string old = scaling().value("type", std::string());
    return scaling().value("rope_type", old) == "yarn";
  }

  void add_yarn() {
    const json& yarn = scaling();
    const auto number = [&](const char* name, double other) {
      const auto found = yarn.find(name);
      return static_cast<float>(
          found != yarn.end() && found->is_number() ? found->get<double>()
                                                    : other);
    };
    add("rope.scaling.type", std::string("yarn"));
    add("rope.scaling.factor", number("factor", 1));
    add_size(
        "rope.scaling.original_context_length",
        static_cast<std::int64_t>(number(
            "original_max_position_embeddings",
            static_cast<double>(spec_.context_tokens))));
    for (const auto& [ours, theirs] :
         {std::pair{"beta_fast", "yarn_beta_fast"},
          std::pair{"beta_slow", "yarn_beta_slow"}}) {
      if (yarn.contains(ours)) {
        add(fmt::format("rope.scaling.{}", theirs), number(ours, 0));
      }
    }
  }

  void add_scales() {
    if (family_.multipliers) {
      add("embedding_scale", spec_.embedding_scale);
      add("residual_scale", spec_.layers[0].residual_scale);
      // The file has the divisor.
      add("logit_scale", 1 / spec_.logit_scale);
    }
    if (family_.logit_softcap_field && spec_.logit_softcap) {
      add("final_logit_softcapping", *spec_.logit_softcap);
    }
  }

  const ModelSpec& spec_;
  const json& config_;
  const Family& family_;
  GgufModel model_;
};

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
  TensorLister(const ModelSpec& spec, const Family& family)
      : spec_(spec), family_(family) {
    for (const NameRow& row :
         name_table(NameStyle::gguf, family.gguf_name).own_layer) {
      packs_ = packs_ || row.action == NameAction::split_gate_up;
    }
  }

  std::vector<GgufSource> list() {
    for (const ExpectedTensor& tensor : expected_tensors(spec_)) {
      add(tensor.name);
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
      if (add_mixture(ours, rest, prefix, layer)) {
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
      refuse(fmt::format("GGUF has no name for {}", ours));
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
    const bool own =
        family_.gguf_name == "gpt-oss" && rest == "feed_forward_norm";
    return own ? "post_attention_norm" : "";
  }

  void settle_change(
      GgufSource& source,
      std::string_view rest,
      std::size_t layer,
      bool bias) const {
    const AttentionSpec& attention = *spec_.layers[layer].attention;
    const bool turned = family_.gguf_rope_layout == RopeLayout::interleaved &&
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
    if (!packs_) {
      return false;
    }
    const auto is = [&](std::string_view a) { return rest == a; };
    const bool qkv =
        is("attention.q") || is("attention.k") || is("attention.v");
    const bool gate_up = is("feed_forward.gate") || is("feed_forward.up");
    if (!qkv && !gate_up) {
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
  bool packs_ = false;  ///< its files hold q, k, v together, gate and up too
  std::vector<GgufSource> out_;
};

/// Reads back what was written, and refuses where it isn't the model.
void check_agreement(const GgufModel& model, const ModelSpec& spec) {
  GgufRopeFactors factors;
  for (const auto& [name, values] : model.factors) {
    (name == "rope_freqs.weight"          ? factors.factors
     : name == "rope_factors_long.weight" ? factors.long_factors
                                          : factors.short_factors) = values;
  }
  ModelSpec read = read_gguf_metadata(metadata_json(model.metadata), factors);
  if (const auto difference = spec_difference(spec, read)) {
    refuse(fmt::format(
        "A {} file can't say what this model has: {}",
        read.family,
        *difference));
  }
}

}  // namespace

GgufModel describe_gguf_model(const ModelSpec& spec, const json& config) {
  require_runnable(spec);
  const Family& family = gguf_family_of(spec);
  GgufModel model = MetadataMaker(spec, config, family).make();
  model.tensors = TensorLister(spec, family).list();
  check_agreement(model, spec);
  return model;
}

}  // namespace roofline
