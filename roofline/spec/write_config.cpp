#include "roofline/spec/write_config.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "roofline/base/errors.h"
#include "roofline/spec/families.h"
#include "roofline/spec/read_config.h"
#include "roofline/spec/rope.h"
#include "roofline/spec/spec_agreement.h"

namespace roofline {

namespace {

using Json = nlohmann::json;

[[noreturn]] void refuse(const std::string& why) {
  fail<UnsupportedError>(
      "Can't write a config.json for this GGUF file",
      why,
      "Take the model's own folder");
}

std::string_view activation_name(Activation activation) {
  switch (activation) {
    case Activation::silu:
      return "silu";
    case Activation::gelu:
      return "gelu";
    case Activation::gelu_tanh:
      return "gelu_pytorch_tanh";
    case Activation::relu:
      return "relu";
    case Activation::relu_squared:
      return "relu2";
    case Activation::xielu:
      return "xielu";
  }
  return "";
}

class ConfigWriter {
 public:
  ConfigWriter(const ModelSpec& spec, const Json& gguf, const Family& family)
      : spec_(spec), gguf_(gguf), family_(family) {}

  Json write() {
    if (spec_.layers.empty()) {
      refuse("It has no layers");
    }
    for (const LayerSpec& layer : spec_.layers) {
      if (!layer.attention || !layer.feed_forward) {
        refuse("Its layers aren't all of attention and a feed-forward part");
      }
    }
    write_sizes();
    write_mixture();
    write_layers();
    write_ropes();
    write_scales();
    write_tokens();
    return std::move(out_);
  }

 private:
  const LayerSpec& first() const { return spec_.layers.front(); }

  void write_sizes() {
    const AttentionSpec& attention = *first().attention;
    out_["model_type"] = family_.name;
    out_["hidden_size"] = spec_.dim;
    out_["intermediate_size"] = first().feed_forward->hidden;
    out_["num_hidden_layers"] = spec_.layers.size();
    out_["num_attention_heads"] = attention.heads;
    out_["num_key_value_heads"] = attention.kv_heads;
    out_["head_dim"] = attention.head_dim;
    out_["vocab_size"] = spec_.vocab;
    out_["max_position_embeddings"] = spec_.context_tokens;
    out_["rms_norm_eps"] = shortest(first().norm.eps);
    out_[std::string(family_.activation_field)] =
        activation_name(first().feed_forward->activation);
    out_["tie_word_embeddings"] = spec_.tied_embeddings;
    if (!family_.qkv_bias.field.empty()) {
      out_[std::string(family_.qkv_bias.field)] = attention.qkv_bias;
    }
    if (!family_.qk_norm_rule.field.empty()) {
      out_[std::string(family_.qk_norm_rule.field)] =
          attention.qk_norm != QkNorm::none;
    }
    if (!family_.feed_forward_bias.field.empty()) {
      out_[std::string(family_.feed_forward_bias.field)] =
          first().feed_forward->bias;
    }
  }

  /// Under both names where there are two.
  void write_named(
      const std::array<std::string_view, 2>& names,
      const Json& value) {
    for (const std::string_view name : names) {
      if (!name.empty()) {
        out_[std::string(name)] = value;
      }
    }
  }

  void write_mixture() {
    std::vector<bool> mixed;
    const MixtureSpec* found = nullptr;
    for (const LayerSpec& layer : spec_.layers) {
      const auto& own = layer.feed_forward->mixture;
      mixed.push_back(own.has_value());
      found = own && found == nullptr ? &*own : found;
      if (!own) {
        out_["intermediate_size"] = layer.feed_forward->hidden;
      }
    }
    if (found == nullptr) {
      return;
    }
    if (!family_.mixture) {
      refuse("It has experts, and its family has none");
    }
    const MixtureRule& rule = *family_.mixture;
    write_named(rule.experts_fields, found->experts);
    write_named(rule.top_k_fields, found->top_k);
    if (out_["intermediate_size"] == 0) {
      out_["intermediate_size"] = found->expert_hidden;
    }
    out_[std::string(rule.hidden_field)] = found->expert_hidden;
    if (rule.renormalise_field) {
      out_["norm_topk_prob"] = found->renormalise;
    }
    if (rule.scale) {
      out_["routed_scaling_factor"] = shortest(found->scale);
    }
    if (rule.groups != 0) {
      out_["n_group"] = found->groups;
      out_["topk_group"] = found->top_groups;
    }
    if (!rule.shared_field.empty()) {
      out_[std::string(rule.shared_field)] =
          rule.shared == SharedExpert::counted
              ? found->shared_hidden / found->expert_hidden
              : found->shared_hidden;
    }
    write_mixed_layers(rule, mixed);
  }

  void write_mixed_layers(
      const MixtureRule& rule,
      const std::vector<bool>& mixed) {
    const auto first = std::find(mixed.begin(), mixed.end(), true);
    const auto before = first - mixed.begin();
    if (rule.layers == ExpertLayers::past_first) {
      out_[std::string(rule.first_layer_field)] = before;
    } else if (rule.layers == ExpertLayers::stepped) {
      Json dense = Json::array();
      for (std::size_t i = 0; i < mixed.size(); ++i) {
        if (!mixed[i]) {
          dense.push_back(i);
        }
      }
      out_["decoder_sparse_step"] = 1;
      out_["mlp_only_layers"] = dense;
    }
  }

  void write_layers() {
    std::optional<int> window;
    Json kinds = Json::array();
    bool mixed = false;
    for (const LayerSpec& layer : spec_.layers) {
      const auto own = layer.attention->window_tokens;
      mixed = mixed || own.has_value() != first().attention->window_tokens;
      window = window ? window : own;
      kinds.push_back(own ? "sliding_attention" : "full_attention");
    }
    if (family_.window == WindowRule::none) {
      return;
    }
    out_["sliding_window"] = window ? Json(*window) : Json(nullptr);
    if (family_.window_switch) {
      out_["use_sliding_window"] = window.has_value();
    }
    if (family_.layer_types && (mixed || window)) {
      out_["layer_types"] = kinds;
    }
  }

  void write_ropes() {
    const RopeSpec* full = rope_where(spec_, false);
    const RopeSpec* sliding = rope_where(spec_, true);
    const RopeSpec* rope = full != nullptr ? full : sliding;
    if (rope == nullptr) {
      refuse("It has no positions");
    }
    out_["rope_theta"] = rope->theta;
    if (family_.local_rope_theta && sliding != nullptr) {
      out_["rope_local_base_freq"] = sliding->theta;
    }
    if (family_.partial_rotary) {
      out_["partial_rotary_factor"] =
          static_cast<double>(rope->rotated_dims) / first().attention->head_dim;
    }
    if (family_.no_rope_interval != 0) {
      Json roped = Json::array();
      for (const LayerSpec& layer : spec_.layers) {
        roped.push_back(layer.attention->rope ? 1 : 0);
      }
      out_["no_rope_layers"] = roped;
    }
    write_scaling(*rope);
  }

  Json metadata(const char* name) const {
    return gguf_.value(
        fmt::format("{}.rope.scaling.{}", family_.gguf_name, name),
        Json());
  }

  void write_scaling(const RopeSpec& rope) {
    if (rope.regimes.size() == 2) {
      out_["rope_scaling"] = {
          {"type", "longrope"},
          {"short_factor", rope_divisors(rope, 0)},
          {"long_factor", rope_divisors(rope, 1)},
          {"attention_factor", shortest(rope.regimes[0].magnitude)},
          {"original_max_position_embeddings", rope.regimes[0].max_tokens}};
      out_["original_max_position_embeddings"] = rope.regimes[0].max_tokens;
      return;
    }
    const std::vector<float> by = rope_divisors(rope, 0);
    const auto [low, high] = std::minmax_element(by.begin(), by.end());
    if (metadata("type") == "yarn") {
      write_yarn();
    } else if (*high - *low > 1e-4f * *high) {
      // Llama 3's, the one that files hold as a list: these four numbers are
      // the same in all its models, and checked by reading back.
      out_["rope_scaling"] = {
          {"rope_type", "llama3"},
          {"factor", std::round(*high)},
          {"low_freq_factor", 1.0},
          {"high_freq_factor", 4.0},
          {"original_max_position_embeddings", 8192}};
    } else if (*high > 1.0001f) {
      out_["rope_scaling"] = {
          {"rope_type", "linear"},
          {"factor", shortest(*high)}};
    }
  }

  void write_yarn() {
    Json yarn = {{"rope_type", "yarn"}, {"factor", metadata("factor")}};
    const Json original = metadata("original_context_length");
    if (!original.is_null()) {
      yarn["original_max_position_embeddings"] = original;
    }
    for (const auto& [theirs, ours] :
         {std::pair{"yarn_beta_fast", "beta_fast"},
          std::pair{"yarn_beta_slow", "beta_slow"}}) {
      if (!metadata(theirs).is_null()) {
        yarn[ours] = metadata(theirs);
      }
    }
    out_["rope_scaling"] = yarn;
  }

  void write_scales() {
    const AttentionSpec& attention = *first().attention;
    if (family_.scale == ScaleRule::query_scalar) {
      out_["query_pre_attn_scalar"] =
          std::round(1.0 / (double{attention.scale} * attention.scale));
    }
    if (family_.multipliers) {
      out_["attention_multiplier"] = shortest(attention.scale);
      out_["embedding_multiplier"] = shortest(spec_.embedding_scale);
      out_["residual_multiplier"] = shortest(first().residual_scale);
      out_["logits_scaling"] = shortest(1 / spec_.logit_scale);
    }
    if (family_.attention_softcap_field) {
      out_["attn_logit_softcapping"] =
          attention.softcap ? Json(*attention.softcap) : Json(nullptr);
    }
    if (family_.logit_softcap_field) {
      out_["final_logit_softcapping"] =
          spec_.logit_softcap ? Json(*spec_.logit_softcap) : Json(nullptr);
    }
  }

  void write_tokens() {
    if (spec_.bos_token) {
      out_["bos_token_id"] = *spec_.bos_token;
    }
    if (spec_.eos_tokens.size() == 1) {
      out_["eos_token_id"] = spec_.eos_tokens.front();
    } else if (!spec_.eos_tokens.empty()) {
      out_["eos_token_id"] = spec_.eos_tokens;
    }
  }

  /// A float32 as the decimal it was written as, not as its double.
  static double shortest(float value) {
    return std::stod(fmt::format("{}", value));
  }

  const ModelSpec& spec_;
  const Json& gguf_;
  const Family& family_;
  Json out_ = Json::object();
};

constexpr std::array<std::string_view, 20> kConverted = {
    "dots1",    "ernie4_5", "exaone4",  "gemma",      "gemma2",
    "gemma3",   "glm4moe",  "granite",  "granitemoe", "hunyuan-dense",
    "llama",    "olmo2",    "olmoe",    "phi3",       "qwen2",
    "qwen2moe", "qwen3",    "qwen3moe", "seed_oss",   "smollm3"};

/// Architectures whose files two families share, told apart by a window.
struct SharedFiles {
  std::string_view gguf;
  std::string_view with_window, without;
};
constexpr std::array<SharedFiles, 2> kShared = {{
    {"llama", "mistral", "llama"},
    {"olmo2", "olmo3", "olmo2"},
}};

const Family* config_family(const ModelSpec& spec) {
  const bool windowed = std::any_of(
      spec.layers.begin(),
      spec.layers.end(),
      [](const LayerSpec& layer) {
        return layer.attention && layer.attention->window_tokens;
      });
  const bool experts = std::any_of(
      spec.layers.begin(),
      spec.layers.end(),
      [](const LayerSpec& layer) {
        return layer.feed_forward && layer.feed_forward->mixture;
      });
  if (spec.family == "llama" && experts) {
    return find_family("mixtral");
  }
  for (const SharedFiles& shared : kShared) {
    if (shared.gguf == spec.family) {
      return find_family(windowed ? shared.with_window : shared.without);
    }
  }
  return find_gguf_family(spec.family);
}

}  // namespace

std::vector<std::string> converted_gguf_architectures() {
  return {kConverted.begin(), kConverted.end()};
}

Json write_config(const ModelSpec& spec, const Json& gguf) {
  const Family* family = config_family(spec);
  if (family == nullptr ||
      std::find(kConverted.begin(), kConverted.end(), spec.family) ==
          kConverted.end()) {
    refuse(fmt::format(
        "Its architecture is {}; those that can be converted are {}",
        spec.family,
        fmt::join(kConverted, ", ")));
  }
  Json config = ConfigWriter(spec, gguf, *family).write();
  const ModelSpec read = read_config(config);
  if (const auto difference = spec_difference(spec, read)) {
    refuse(fmt::format("It couldn't say what the model has: {}", *difference));
  }
  return config;
}

}  // namespace roofline
