#include "roofline/spec/write_config.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/spec/activation_names.h"
#include "roofline/spec/config_family.h"
#include "roofline/spec/families.h"
#include "roofline/spec/language_config.h"
#include "roofline/spec/read_config.h"
#include "roofline/spec/rope.h"
#include "roofline/spec/spec_agreement.h"
#include "roofline/spec/write_config_parts.h"

namespace roofline {

namespace {

using Json = nlohmann::json;

[[noreturn]] void refuse(const std::string& why) {
  fail<UnsupportedError>(
      "Can't write a config.json for this GGUF file",
      why,
      "Take the model's own folder");
}

/// A float32 as the decimal it was written as, not as its double.
double shortest(float value) {
  return std::stod(fmt::format("{}", value));
}

class ConfigWriter {
 public:
  ConfigWriter(const ModelSpec& spec, const Json& gguf, const Family& family)
      : spec_(spec), gguf_(gguf), family_(family) {
    for (const LayerSpec& layer : spec.layers) {
      attention_ = attention_ == nullptr && layer.attention ? &*layer.attention
                                                            : attention_;
      feed_forward_ = feed_forward_ == nullptr && layer.feed_forward
                          ? &*layer.feed_forward
                          : feed_forward_;
    }
  }

  Json write() {
    if (spec_.layers.empty()) {
      refuse("It has no layers");
    }
    write_parts();
    write_ropes();
    write_rest();
    return std::move(out_);
  }

  /// All but positions.
  Json write_without_ropes() {
    write_parts();
    write_rest();
    return std::move(out_);
  }

 private:
  void write_parts() {
    write_sizes();
    write_biases();
    write_config_mixture(spec_, family_, out_);
    write_config_recurrent(spec_, family_, out_);
    write_config_latent(spec_, family_, out_);
    write_layers();
  }

  void write_rest() {
    write_scales();
    write_config_extras(spec_, family_, out_);
    write_tokens();
  }

  const LayerSpec& first() const { return spec_.layers.front(); }

  void write(std::string_view field, const Json& value) {
    if (!field.empty()) {
      out_[std::string(field)] = value;
    }
  }

  void write_sizes() {
    const SizeNames& names = family_.names;
    write("model_type", family_.name);
    write(names.dim, spec_.dim);
    write(names.layers, spec_.layers.size());
    write("vocab_size", spec_.vocab);
    write(names.context, spec_.context_tokens);
    write(family_.norm_eps_field, shortest(first().norm.eps));
    if (feed_forward_ != nullptr) {
      write(names.hidden, feed_forward_->hidden);
      write(
          family_.activation_field,
          activation_name(feed_forward_->activation));
    }
    if (attention_ != nullptr) {
      write(names.heads, attention_->heads);
      if (family_.shared_kv_heads) {
        write("num_key_value_heads", attention_->kv_heads);
      }
      if (!attention_->latent) {
        write("head_dim", attention_->head_dim);
      }
    }
    if (attention_ == nullptr && feed_forward_ != nullptr) {
      // Of no layer, but the config can't do without them.
      write(names.heads, 1);
      write("num_key_value_heads", 1);
    }
    write("tie_word_embeddings", spec_.tied_embeddings);
    write(family_.tied_field, spec_.tied_embeddings);
    if (family_.parallel_rule) {
      write(
          family_.parallel_rule->flag.field,
          first().norm_placement == family_.parallel_rule->parallel);
    }
  }

  /// One field may stand for several of them; reading back tells whether it
  /// can.
  void write_biases() {
    write(family_.head_bias.field, spec_.head_bias);
    if (feed_forward_ != nullptr) {
      write(family_.feed_forward_bias.field, feed_forward_->bias);
    }
    if (attention_ == nullptr) {
      return;
    }
    write(family_.output_bias.field, attention_->output_bias);
    write(family_.qkv_bias.field, attention_->qkv_bias);
    write(family_.qk_norm_rule.field, attention_->qk_norm != QkNorm::none);
  }

  void write_layers() {
    if (family_.window == WindowRule::none) {
      return;
    }
    std::optional<int> window;
    Json kinds = Json::array();
    bool mixed = false;
    for (const LayerSpec& layer : spec_.layers) {
      const auto own = layer.attention->window_tokens;
      mixed = mixed || own.has_value() != attention_->window_tokens.has_value();
      window = window ? window : own;
      kinds.push_back(own ? "sliding_attention" : "full_attention");
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
    const bool optional = family_.recurrent && family_.recurrent->rope_by_type;
    if (optional) {
      out_["position_embedding_type"] = rope != nullptr ? "rope" : "nope";
    }
    if (rope == nullptr) {
      if (family_.rope != RopeRule::none && !optional &&
          attention_ != nullptr) {
        refuse("It has no positions");
      }
      return;
    }
    write(family_.rope_theta_field, rope->theta);
    if (family_.local_rope_theta && sliding != nullptr) {
      out_["rope_local_base_freq"] = sliding->theta;
    }
    if (family_.rotary_dim_field) {
      out_["rotary_dim"] = rope->rotated_dims;
    } else if (family_.partial_rotary) {
      write(
          family_.partial_rotary_field,
          static_cast<double>(rope->rotated_dims) / attention_->head_dim);
    }
    if (family_.no_rope_interval != 0) {
      Json roped = Json::array();
      for (const LayerSpec& layer : spec_.layers) {
        roped.push_back(layer.attention->rope ? 1 : 0);
      }
      out_["no_rope_layers"] = roped;
    }
    write_config_scaling(*rope, gguf_, family_, out_);
    if (family_.local_rope_theta) {
      write_both_ropes(*rope, sliding != nullptr ? *sliding : *rope);
    }
    if (family_.query_temperature) {
      join_rope();
    }
  }

  /// Not all that have two bases have an old name for the second.
  void write_both_ropes(const RopeSpec& full, const RopeSpec& sliding) {
    const Json plain{{"rope_type", "default"}};
    Json scaled = out_.value("rope_scaling", plain);
    scaled["rope_theta"] = full.theta;
    Json local = plain;
    local["rope_theta"] = sliding.theta;
    out_["rope_parameters"] = {
        {"full_attention", scaled},
        {"sliding_attention", local}};
  }

  /// Where what belongs to positions stands in one object, with a factor on
  /// queries that grows.
  void join_rope() {
    Json rope = out_.value("rope_scaling", Json{{"rope_type", "default"}});
    rope["rope_theta"] = out_["rope_theta"];
    if (const auto& temperature = attention_->query_temperature) {
      rope["llama_4_scaling_beta"] = shortest(temperature->beta);
      rope["original_max_position_embeddings"] = temperature->original_tokens;
    }
    out_.erase("rope_scaling");
    out_.erase("rope_theta");
    out_["rope_parameters"] = rope;
  }

  void write_scales() {
    if (family_.logit_scale) {
      out_["logit_scale"] = shortest(spec_.logit_scale);
    }
    if (family_.logit_softcap_field) {
      out_["final_logit_softcapping"] =
          spec_.logit_softcap ? Json(*spec_.logit_softcap) : Json(nullptr);
    }
    if (feed_forward_ != nullptr && feed_forward_->clamped_glu) {
      out_["swiglu_limit"] = shortest(feed_forward_->clamped_glu->limit);
    }
    if (family_.multipliers) {
      out_["embedding_multiplier"] = shortest(spec_.embedding_scale);
      out_["residual_multiplier"] = shortest(first().residual_scale);
      out_["logits_scaling"] = shortest(1 / spec_.logit_scale);
    }
    if (attention_ == nullptr) {
      return;
    }
    if (family_.scale == ScaleRule::query_scalar) {
      out_["query_pre_attn_scalar"] =
          std::llround(1.0 / (double{attention_->scale} * attention_->scale));
    }
    if (family_.multipliers) {
      out_["attention_multiplier"] = shortest(attention_->scale);
    }
    if (family_.attention_softcap_field) {
      out_["attn_logit_softcapping"] =
          attention_->softcap ? Json(*attention_->softcap) : Json(nullptr);
    }
    if (attention_->clip) {
      write(family_.clip_field, shortest(*attention_->clip));
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

  const ModelSpec& spec_;
  const Json& gguf_;
  const Family& family_;
  const AttentionSpec* attention_ = nullptr;  ///< of the first layer with one
  const FeedForwardSpec* feed_forward_ = nullptr;
  Json out_ = Json::object();
};

}  // namespace

Json write_config(const ModelSpec& spec, const Json& gguf) {
  const Family* family = config_family(spec);
  if (family == nullptr) {
    refuse(fmt::format("Its architecture is {}", spec.family));
  }
  Json config = ConfigWriter(spec, gguf, *family).write();
  const ModelSpec read = read_config(config);
  auto difference = spec_difference(spec, read);
  if (!difference) {
    difference = bias_difference(spec, read);
  }
  if (difference) {
    refuse(fmt::format("It couldn't say what the model has: {}", *difference));
  }
  return config;
}

bool reads_as(const Json& config, const ModelSpec& spec) {
  try {
    const ModelSpec read = read_config(config);
    return !spec_difference(spec, read) && !bias_difference(spec, read) &&
           read.tied_embeddings == spec.tied_embeddings;
  } catch (const CheckpointError&) {
    return false;
  } catch (const UnsupportedError&) {
    return false;
  }
}

namespace {

using Field = std::pair<std::string, Json>;

/// Adds those of the fields with which the config stays one of this model: all
/// of them at once where it does, else each half by itself.
void add_fields(
    Json& config,
    std::span<const Field> fields,
    const ModelSpec& spec) {
  Json& inner = language_config(config);
  for (const auto& [name, value] : fields) {
    inner[name] = value;
  }
  if (fields.empty() || reads_as(config, spec)) {
    return;
  }
  for (const auto& [name, value] : fields) {
    inner.erase(name);
  }
  if (fields.size() > 1) {
    const std::size_t half = fields.size() / 2;
    add_fields(config, fields.first(half), spec);
    add_fields(config, fields.subspan(half), spec);
  }
}

}  // namespace

void write_absent_fields(Json& config) {
  const ModelSpec spec = read_config(config);
  const Json& inner = language_config(config);
  const auto type = inner.find("model_type");
  const Family* family = type != inner.end() && type->is_string()
                             ? find_family(type->get<std::string>())
                             : nullptr;
  if (family == nullptr || spec.layers.empty()) {
    return;
  }
  const Json whole = ConfigWriter(spec, Json(), *family).write_without_ropes();
  std::vector<Field> absent;
  for (const auto& [name, value] : whole.items()) {
    if (!inner.contains(name) && !config.contains(name)) {
      absent.emplace_back(name, value);
    }
  }
  add_fields(config, absent, spec);
}

}  // namespace roofline
