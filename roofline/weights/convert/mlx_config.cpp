#include "roofline/weights/convert/mlx_config.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "roofline/spec/families.h"
#include "roofline/spec/language_config.h"
#include "roofline/spec/read_config.h"
#include "roofline/spec/write_config.h"
#include "roofline/spec/write_config_parts.h"

namespace roofline {

using nlohmann::json;

namespace {

std::string type_of(const json& config) {
  return config.value("model_type", std::string());
}

void rename(json& config, const char* from, const char* to) {
  if (config.contains(from)) {
    config[to] = config[from];
    config.erase(from);
  }
}

void add_absent(json& config, const char* name, json value) {
  if (!config.contains(name)) {
    config[name] = std::move(value);
  }
}

/// mlx-lm knows these language models as parts of others only.
void wrap_text_model(json& config) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 3>
      kWhole = {{
          {"gemma3n_text", "gemma3n"},
          {"qwen3_5_text", "qwen3_5"},
          {"qwen3_5_moe_text", "qwen3_5_moe"},
      }};
  for (const auto& [part, whole] : kWhole) {
    if (type_of(config) != part) {
      continue;
    }
    json outer = {{"model_type", whole}};
    for (const char* name : {"quantization", "quantization_config"}) {
      if (config.contains(name)) {
        outer[name] = config[name];
        config.erase(name);
      }
    }
    for (const char* name :
         {"torch_dtype", "dtype", "eos_token_id", "tie_word_embeddings"}) {
      if (config.contains(name)) {
        outer[name] = config[name];
      }
    }
    config.erase("architectures");
    outer["text_config"] = std::move(config);
    config = std::move(outer);
  }
}

/// Repeats what "rope_parameters" says under the names of before, which are
/// all that mlx-lm reads for some families.
void add_old_rope_names(json& config) {
  if (json& text = language_config(config); &text != &config) {
    add_old_rope_names(text);
  }
  json rope = config.value("rope_parameters", json());
  if (!rope.is_object()) {
    return;
  }
  const json sliding = rope.value("sliding_attention", json());
  rope = rope.value("full_attention", rope);
  const auto add = [&](const char* name, const json& from, const char* key) {
    if (from.is_object() && from.contains(key) && !config.contains(name)) {
      config[name] = from[key];
    }
  };
  const bool neox = type_of(config) == "gpt_neox";
  add(neox ? "rotary_emb_base" : "rope_theta", rope, "rope_theta");
  if (type_of(config).starts_with("gemma3")) {
    add("rope_local_base_freq", sliding, "rope_theta");
  }
  const char* partial = "partial_rotary_factor";
  if (!sliding.is_object()) {
    add(neox ? "rotary_pct" : partial, rope, partial);
  }
  // "proportional" is read from rope_parameters, and nowhere else.
  const std::string kind = rope.is_object() && rope.contains("rope_type") &&
                                   rope["rope_type"].is_string()
                               ? rope["rope_type"].get<std::string>()
                               : "default";
  const bool scaled = kind != "default" && kind != "proportional";
  if (scaled && !config.contains("rope_scaling")) {
    rope.erase("rope_theta");
    rope.erase("partial_rotary_factor");
    rope["type"] = rope["rope_type"];
    config["rope_scaling"] = rope;
  }
  if (type_of(config) == "phi3") {
    const char* original = "original_max_position_embeddings";
    add(original, rope, original);
  }
}

/// What reads the kind of a scaling under its older name only.
void add_scaling_type(json& text) {
  const auto scaling = text.find("rope_scaling");
  if (scaling != text.end() && scaling->is_object() &&
      scaling->contains("rope_type")) {
    add_absent(*scaling, "type", (*scaling)["rope_type"]);
  }
}

/// It takes the context of another model for the one that a yarn leaves open.
void fill_yarn(json& text) {
  json& scaling = text["rope_scaling"];
  if (scaling.is_object() && scaling.value("type", json()) == "yarn") {
    add_absent(
        scaling,
        "original_max_position_embeddings",
        whole_number(text, "max_position_embeddings", 2048));
  }
}

/// What the family has where a config has no positions, at the only place where
/// mlx-lm's ministral3 looks.
void fill_default_rope(json& text) {
  const Family* family = find_family(type_of(text));
  if (family != nullptr && !family->rope_parameters.empty() &&
      text.value("rope_parameters", json()).is_null()) {
    text["rope_parameters"] = json::parse(family->rope_parameters);
    text.erase("rope_scaling");
    text.erase("rope_theta");
  }
}

/// Attention has no biases in this family, whatever is said.
void fill_nemotron_attention(json& text) {
  text["attention_bias"] = false;
}

/// Every so many-th layer sees all.
void fill_window_pattern(json& text) {
  const json types = text.value("layer_types", json::array());
  const auto full = std::find(types.begin(), types.end(), "full_attention");
  if (full != types.end()) {
    add_absent(text, "sliding_window_pattern", full - types.begin() + 1);
  }
}

/// Changes a part of the config unless that made it another model.
void try_fill(json& config, void (*fill)(json& text)) {
  json changed = config;
  fill(language_config(changed));
  if (reads_as(changed, read_config(config))) {
    config = std::move(changed);
  }
}

void fill_positions(json& config) {
  const std::string type = type_of(language_config(config));
  try_fill(config, add_scaling_type);
  try_fill(config, fill_default_rope);
  if (type == "nemotron_h") {
    try_fill(config, fill_nemotron_attention);
  } else if (type == "cohere2" || type == "gemma3_text") {
    try_fill(config, fill_window_pattern);
  }
  if (language_config(config).value("rope_scaling", json()).is_object()) {
    try_fill(config, fill_yarn);
  }
}

json layer_types(const ModelSpec& spec) {
  json out = json::array();
  for (const LayerSpec& layer : spec.layers) {
    out.push_back(
        layer.attention->window_tokens ? "sliding_attention"
                                       : "full_attention");
  }
  return out;
}

/// Layers that read an earlier one's keys and values.
int shared_layers(const ModelSpec& spec) {
  return static_cast<int>(std::count_if(
      spec.layers.begin(),
      spec.layers.end(),
      [](const LayerSpec& layer) {
        return layer.attention->shares_kv_of_layer.has_value();
      }));
}

void fill_gemma3n(json& text, const ModelSpec& spec) {
  add_absent(text, "layer_types", layer_types(spec));
  add_absent(text, "num_kv_shared_layers", shared_layers(spec));
  if (!text.contains("activation_sparsity_pattern")) {
    json shares = json::array();
    for (const LayerSpec& layer : spec.layers) {
      shares.push_back(layer.feed_forward->gate_sparsity.value_or(0.0f));
    }
    text["activation_sparsity_pattern"] = shares;
  }
  add_absent(text, "rope_theta", 1000000.0);
  add_absent(text, "rope_local_base_freq", 10000.0);
}

void fill_gemma4(json& text, const ModelSpec& spec) {
  const auto full = std::find_if(
      spec.layers.begin(),
      spec.layers.end(),
      [](const LayerSpec& layer) { return !layer.attention->window_tokens; });
  if (full != spec.layers.end()) {
    text["global_head_dim"] = full->attention->head_dim;
    if (full->attention->values_are_keys) {
      text["num_global_key_value_heads"] = full->attention->kv_heads;
    }
  }
  add_absent(text, "layer_types", layer_types(spec));
  add_absent(text, "num_kv_shared_layers", shared_layers(spec));
  add_absent(text, "use_double_wide_mlp", false);
  add_absent(text, "final_logit_softcapping", json());
}

void fill_interval(json& text) {
  const json types = text.value("layer_types", json::array());
  for (std::size_t i = 0; i < types.size(); ++i) {
    if (types[i] == "full_attention") {
      add_absent(text, "full_attention_interval", i + 1);
      return;
    }
  }
}

/// Layers under the names that they had before, the only ones known there; the
/// width of a dense part under its usual name.
void fill_granite_hybrid(json& config) {
  if (config.contains("layer_types")) {
    for (json& type : config["layer_types"]) {
      type = type == "linear_attention" ? json("mamba")
             : type == "full_attention" ? json("attention")
                                        : type;
    }
  }
  const json experts = config.value("num_local_experts", json(8));
  if (experts == 0 && config.contains("shared_intermediate_size")) {
    config["intermediate_size"] = config["shared_intermediate_size"];
  }
}

void fill_nemotron(json& config) {
  rename(config, "mamba_n_groups", "n_groups");
  rename(config, "mamba_d_conv", "conv_kernel");
  rename(config, "mamba_conv_bias", "use_conv_bias");
  add_absent(config, "attention_bias", false);
  // It takes the one flag for the other.
  config["mamba_proj_bias"] = config.value("use_bias", json(false));
}

/// Factors that are one when absent, but not there.
void fill_factors(json& config) {
  const json neutral = neutral_factors();
  for (const auto& [name, value] : neutral.items()) {
    add_absent(config, name.c_str(), value);
  }
}

/// Fields that mlx-lm doesn't do without, which transformers leaves out or
/// names otherwise: the other name, else the value when absent.
void fill_required(json& config) {
  struct Row {
    std::string_view model_type;
    const char* field;
    const char* other = "";
    const char* value = "null";
  };
  constexpr std::array kRows = {
      Row{"apertus", "mlp_bias", "", "false"},
      Row{"apertus", "post_norm", "", "false"},
      Row{"apertus", "qk_norm", "", "true"},
      Row{"exaone4", "rope_scaling"},
      Row{"exaone4", "sliding_window"},
      Row{"exaone4", "sliding_window_pattern"},
      Row{"glm4_moe", "rope_scaling"},
      Row{"gpt2", "n_ctx", "n_positions", "1024"},
      Row{"granitemoehybrid", "attention_bias", "", "false"},
      Row{"granitemoehybrid", "attention_multiplier", "", "1.0"},
      Row{"lfm2", "block_auto_adjust_ff_dim", "", "true"},
      Row{"lfm2", "block_dim", "hidden_size", "2560"},
      Row{"lfm2", "block_ffn_dim_multiplier", "", "1.0"},
      Row{"lfm2", "block_multiple_of", "", "256"},
      // No bound: it would have to be infinite.
      Row{"mamba2", "time_step_limit", "", "[0.0, 1e30]"},
      Row{"mamba2", "time_step_rank", "", "\"auto\""},
      Row{"nemotron_h", "mlp_bias", "", "false"},
      Row{"minimax_m2", "shared_intermediate_size", "", "0"},
      Row{"qwen3_moe", "num_experts", "num_local_experts", "128"},
  };
  for (const Row& row : kRows) {
    if (row.model_type == type_of(config)) {
      add_absent(
          config,
          row.field,
          config.value(row.other, json::parse(row.value)));
    }
  }
}

/// The same of products and quotients of sizes.
void fill_sizes(json& config) {
  const auto size = [&](const char* name) {
    return whole_number(config, name);
  };
  if (type_of(config) == "exaone4" && size("num_attention_heads") > 0) {
    add_absent(
        config,
        "head_dim",
        size("hidden_size") / size("num_attention_heads"));
  }
  // Every so many-th layer sees all, which it spells out.
  const json period = config.value("sliding_window_pattern", json());
  if (type_of(config) == "exaone4" && period.is_number_integer() &&
      period >= 1 && period <= 64) {
    config["sliding_window_pattern"] =
        std::string(period.get<std::size_t>() - 1, 'L') + "G";
  }
  const json types = config.value("layer_types", json::array());
  const bool windows =
      std::find(types.begin(), types.end(), "sliding_attention") != types.end();
  if (type_of(config) == "exaone4" && period.is_null() && windows) {
    std::string letters;
    for (const json& type : types) {
      letters += type == "sliding_attention" ? 'L' : 'G';
    }
    config["sliding_window_pattern"] = letters;
  }
  if (type_of(config) == "minimax_m2") {
    const auto& attention = read_config(config).layers[0].attention;
    add_absent(config, "rotary_dim", attention->rope->rotated_dims);
    add_absent(config, "rope_theta", attention->rope->theta);
  }
  if (type_of(config) == "mamba2") {
    add_absent(
        config,
        "intermediate_size",
        whole_number(config, "expand", 2) * size("hidden_size"));
  }
}

void fill_in(json& config) {
  const std::string type = type_of(config);
  json& text = language_config(config);
  if (type == "gemma3n") {
    fill_gemma3n(text, read_config(config));
  } else if (type == "gemma4" || type == "gemma4_text") {
    fill_gemma4(text, read_config(config));
  } else if (type.starts_with("qwen3_5") || type == "qwen3_next") {
    fill_interval(text);
  } else if (type == "granitemoehybrid") {
    fill_granite_hybrid(config);
  } else if (type == "nemotron_h") {
    fill_nemotron(config);
  } else if (type == "falcon_h1") {
    fill_factors(config);
  }
  fill_required(config);
  fill_sizes(config);
  // It takes the whole model's.
  const bool outer = type == "gemma3" || type.starts_with("gemma4");
  if (outer && &text != &config && text.contains("vocab_size")) {
    config["vocab_size"] = text["vocab_size"];
  }
}

}  // namespace

json mlx_config(json config) {
  config.erase("_name_or_path");
  config.erase("vision_config");
  config.erase("audio_config");
  wrap_text_model(config);
  add_old_rope_names(config);
  write_absent_fields(config);
  fill_in(config);
  fill_positions(config);
  return config;
}

std::string mlx_config_text(json config) {
  return mlx_config(std::move(config)).dump(4) + "\n";
}

}  // namespace roofline
