#include "roofline/weights/convert/gguf_model.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "roofline/base/errors.h"
#include "roofline/spec/read_config.h"
#include "roofline/spec/spec_agreement.h"
#include "roofline/spec/tensor_names.h"
#include "roofline/weights/convert/gguf_architectures.h"
#include "roofline/weights/convert/gguf_metadata.h"
#include "roofline/weights/convert/gguf_tensors.h"

namespace roofline {

namespace {

using nlohmann::json;

struct SameFiles {
  std::string_view family;
  std::string_view other;
  std::string_view with_experts = other;
};

/// Families whose files are another's.
constexpr std::array kSameFiles = {
    SameFiles{"deepseek_v3", "deepseek_v2"},
    SameFiles{"gemma3", "gemma3_text"},
    // Those of its models that have no recurrent layers.
    SameFiles{"granitemoehybrid", "granite", "granitemoe"},
    SameFiles{"kimi_k2", "deepseek_v2"},
    SameFiles{"ministral", "llama"},
    SameFiles{"mistral", "llama"},
    SameFiles{"mistral3", "ministral3"},
    SameFiles{"mixtral", "llama"},
    SameFiles{"olmo2", "olmo3"},
};

bool has_experts(const ModelSpec& spec) {
  return std::any_of(
      spec.layers.begin(),
      spec.layers.end(),
      [](const LayerSpec& layer) {
        return layer.feed_forward && layer.feed_forward->mixture;
      });
}

const Family& gguf_family_of(const ModelSpec& spec) {
  std::string_view name = spec.family;
  for (const SameFiles& same : kSameFiles) {
    if (spec.family == same.family) {
      name = has_experts(spec) ? same.with_experts : same.other;
    }
  }
  const Family* family = find_family(name);
  if (family != nullptr && find_gguf_architecture(family->gguf_name)) {
    return *family;
  }
  fail<UnsupportedError>(
      fmt::format("Can't write {} as GGUF", spec.family),
      fmt::format(
          "The architectures that can be written are {}",
          fmt::join(written_gguf_architectures(), ", ")),
      "Convert it to MLX layout instead (--mlx-path)");
}

void require_whole_layers(const ModelSpec& spec) {
  if (spec.layers.empty()) {
    refuse_gguf("It has no layers");
  }
  for (std::size_t i = 0; i < spec.layers.size(); ++i) {
    const LayerSpec& layer = spec.layers[i];
    if (!layer.attention || !layer.feed_forward) {
      refuse_gguf(
          fmt::format("Layer {} has no attention or no feed-forward", i));
    }
  }
}

/// Of a model that is a part of a larger one, its own.
const json& own_config(const json& config) {
  const auto text = config.find("text_config");
  return text != config.end() && text->is_object() ? *text : config;
}

/// Reads back what was written, and refuses where it isn't the model.
void check_agreement(
    const GgufModel& model,
    const ModelSpec& spec,
    const Family& family) {
  GgufRopeFactors factors;
  for (const auto& [name, values] : model.factors) {
    (name == "rope_freqs.weight"          ? factors.factors
     : name == "rope_factors_long.weight" ? factors.long_factors
                                          : factors.short_factors) = values;
  }
  ModelSpec read = read_gguf_metadata(metadata_json(model.metadata), factors);
  for (std::size_t i = 0; i < read.layers.size(); ++i) {
    // Where a flag says whether there is one, the file's tensors tell.
    if (!family.qk_norm_rule.field.empty() && i < spec.layers.size()) {
      read.layers[i].attention->qk_norm = spec.layers[i].attention->qk_norm;
    }
    if (auto& latent = read.layers[i].attention->latent) {
      // llama.cpp has one epsilon for all norms.
      latent->norm_eps = read.layers[i].norm.eps;
    }
  }
  if (const auto difference = spec_difference(spec, read)) {
    refuse_gguf(fmt::format(
        "A {} file can't say what this model has: {}",
        read.family,
        *difference));
  }
}

/// Those that the loader can't do without and the model doesn't have.
void add_zero_biases(
    const ModelSpec& spec,
    const GgufArchitecture& architecture,
    GgufModel& model) {
  for (std::size_t i = 0; i < spec.layers.size(); ++i) {
    const auto add = [&](std::string_view name, std::int64_t size) {
      model.factors.emplace_back(
          fmt::format("blk.{}.{}.bias", i, name),
          std::vector<float>(static_cast<std::size_t>(size)));
    };
    const AttentionSpec& attention = *spec.layers[i].attention;
    const FeedForwardSpec& feed_forward = *spec.layers[i].feed_forward;
    if (!attention.output_bias) {
      add("attn_output", spec.dim);
    }
    if (!attention.qkv_bias && architecture.packed_qkv) {
      const int heads = attention.heads + 2 * attention.kv_heads;
      add("attn_qkv", heads * attention.head_dim);
    }
    if (!feed_forward.bias) {
      add("ffn_up", feed_forward.hidden);
      add("ffn_down", spec.dim);
    }
  }
}

}  // namespace

[[noreturn]] void refuse_gguf(const std::string& why) {
  fail<UnsupportedError>(
      "Can't write this model as GGUF",
      why,
      "Convert it to MLX layout instead (--mlx-path)");
}

GgufModel describe_gguf_model(const ModelSpec& spec, const json& config) {
  require_runnable(spec);
  require_whole_layers(spec);
  const Family& family = gguf_family_of(spec);
  const GgufArchitecture& architecture =
      *find_gguf_architecture(family.gguf_name);
  const std::string refused = refused_by_llama_cpp(architecture, spec);
  if (!refused.empty()) {
    refuse_gguf(fmt::format(
        "It has {}, which llama.cpp doesn't know in files of {}",
        refused,
        family.gguf_name));
  }
  GgufModel model =
      describe_gguf_metadata(spec, own_config(config), family, architecture);
  model.tensors = list_gguf_tensors(spec, family, architecture);
  check_agreement(model, spec, family);
  if (architecture.needs_biases) {
    add_zero_biases(spec, architecture, model);
  }
  model.warning = unlike_in_llama_cpp(architecture, spec);
  return model;
}

}  // namespace roofline
