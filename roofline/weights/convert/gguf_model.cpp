#include "roofline/weights/convert/gguf_model.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "roofline/base/errors.h"
#include "roofline/spec/language_config.h"
#include "roofline/spec/read_config.h"
#include "roofline/spec/spec_agreement.h"
#include "roofline/spec/tensor_names.h"
#include "roofline/weights/convert/gguf_architectures.h"
#include "roofline/weights/convert/gguf_folding.h"
#include "roofline/weights/convert/gguf_metadata.h"
#include "roofline/weights/convert/gguf_refusals.h"
#include "roofline/weights/convert/gguf_tensors.h"

namespace roofline {

namespace {

using nlohmann::json;

struct SameFiles {
  std::string_view family;
  std::string_view other;
  std::string_view with_experts = other;
  bool without_recurrence = false;
};

/// Families whose files are another's.
constexpr std::array kSameFiles = {
    SameFiles{"deepseek_v3", "deepseek_v2"},
    SameFiles{"gemma3", "gemma3_text"},
    SameFiles{"gemma3n", "gemma3n_text"},
    SameFiles{"gemma4", "gemma4_text"},
    SameFiles{"granitemoehybrid", "granite", "granitemoe", true},
    SameFiles{"kimi_k2", "deepseek_v2"},
    SameFiles{"ministral", "llama"},
    SameFiles{"mistral", "llama"},
    SameFiles{"mistral3", "ministral3"},
    SameFiles{"mixtral", "llama"},
    SameFiles{"olmo2", "olmo3"},
    SameFiles{"qwen3_5", "qwen3_5_text"},
    SameFiles{"qwen3_5_moe", "qwen3_5_moe_text"},
};

bool has_experts(const ModelSpec& spec) {
  return std::any_of(
      spec.layers.begin(),
      spec.layers.end(),
      [](const LayerSpec& layer) {
        return layer.feed_forward && layer.feed_forward->mixture;
      });
}

bool has_recurrence(const ModelSpec& spec) {
  return std::any_of(
      spec.layers.begin(),
      spec.layers.end(),
      [](const LayerSpec& layer) { return layer.recurrent.has_value(); });
}

struct GgufFamily {
  const Family& family;
  const GgufArchitecture& architecture;
};

GgufFamily gguf_family_of(const ModelSpec& spec) {
  std::string_view name = spec.family;
  for (const SameFiles& same : kSameFiles) {
    if (spec.family == same.family &&
        !(same.without_recurrence && has_recurrence(spec))) {
      name = has_experts(spec) ? same.with_experts : same.other;
    }
  }
  const Family* family = find_family(name);
  if (family != nullptr) {
    const bool other = !family->gguf_other_name.empty() && has_experts(spec);
    const GgufArchitecture* architecture = find_gguf_architecture(
        other ? family->gguf_other_name : family->gguf_name);
    if (architecture != nullptr) {
      return {*family, *architecture};
    }
  }
  const std::string why = unknown_to_llama_cpp(name);
  fail<UnsupportedError>(
      fmt::format("Can't write {} as GGUF", spec.family),
      why.empty() ? fmt::format(
                        "The architectures that can be written are {}",
                        fmt::join(written_gguf_architectures(), ", "))
                  : why,
      "Convert it to MLX layout instead (--mlx-path)");
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
  json metadata = metadata_json(model.metadata);
  if (spec.layers[0].low_rank_twin) {
    // Readers have it from the tensors' sizes.
    metadata[fmt::format("{}.laurel_rank", family.gguf_name)] =
        *spec.layers[0].low_rank_twin;
  }
  ModelSpec read = read_gguf_metadata(metadata, factors);
  for (std::size_t i = 0; i < read.layers.size(); ++i) {
    // Where a flag says whether there is one, the file's tensors tell.
    if (!family.qk_norm_rule.field.empty() && i < spec.layers.size()) {
      read.layers[i].attention->qk_norm = spec.layers[i].attention->qk_norm;
    }
  }
  if (const auto difference = spec_difference(spec, read)) {
    refuse_gguf(fmt::format(
        "A {} file can't say what this model has: {}",
        read.family,
        *difference));
  }
}

/// Tensors that the loader can't do without and the model doesn't have.
class Zeros {
 public:
  Zeros(const GgufArchitecture& architecture, GgufModel& model)
      : architecture_(architecture), model_(model) {}

  void add_to(std::size_t number, const LayerSpec& layer, int dim) {
    layer_ = number;
    if (architecture_.needs_biases) {
      add_biases(*layer.attention, *layer.feed_forward, dim);
    }
    if (architecture_.needs_output_biases && !layer.attention->output_bias) {
      add("attn_output", dim);
    }
    if (layer.recurrent && architecture_.needs_conv_bias &&
        !layer.recurrent->conv_bias) {
      add("ssm_conv1d", layer.recurrent->conv_channels);
    }
    if (architecture_.streams && layer.attention->shares_kv_of_layer) {
      add_unused_keys(*layer.attention, dim);
    }
    if (layer.feed_forward && layer.feed_forward->mixture) {
      const MixtureSpec& mixture = *layer.feed_forward->mixture;
      if (architecture_.needs_selection_bias && !mixture.selection_bias) {
        add("exp_probs_b", mixture.experts);
      }
    }
  }

 private:
  void add(std::string_view name, std::int64_t size) {
    model_.factors.emplace_back(
        fmt::format("blk.{}.{}.bias", layer_, name),
        std::vector<float>(static_cast<std::size_t>(size)));
  }

  void add_unused_keys(const AttentionSpec& attention, int dim) {
    const std::int64_t rows =
        std::int64_t{attention.kv_heads} * attention.head_dim;
    for (const char* name : {"attn_k", "attn_v"}) {
      model_.zeros.emplace_back(
          fmt::format("blk.{}.{}.weight", layer_, name),
          std::vector<std::int64_t>{dim, rows});
    }
    model_.factors.emplace_back(
        fmt::format("blk.{}.attn_k_norm.weight", layer_),
        std::vector<float>(static_cast<std::size_t>(attention.head_dim)));
  }

  void add_biases(
      const AttentionSpec& attention,
      const FeedForwardSpec& feed_forward,
      int dim) {
    if (!attention.output_bias) {
      add("attn_output", dim);
    }
    if (!attention.qkv_bias && architecture_.packed_qkv) {
      const int heads = attention.heads + 2 * attention.kv_heads;
      add("attn_qkv", heads * attention.head_dim);
    }
    if (!feed_forward.bias) {
      add("ffn_up", feed_forward.hidden);
      add("ffn_down", dim);
    }
  }

  const GgufArchitecture& architecture_;
  GgufModel& model_;
  std::size_t layer_ = 0;
};

}  // namespace

[[noreturn]] void refuse_gguf(const std::string& why) {
  fail<UnsupportedError>(
      "Can't write this model as GGUF",
      why,
      "Convert it to MLX layout instead (--mlx-path)");
}

GgufModel describe_gguf_model(const ModelSpec& spec, const json& config) {
  require_runnable(spec);
  if (spec.layers.empty()) {
    refuse_gguf("It has no layers");
  }
  const auto [family, architecture] = gguf_family_of(spec);
  const std::string refused = refused_by_llama_cpp(architecture, spec);
  if (!refused.empty()) {
    refuse_gguf(fmt::format(
        "It has {}, which llama.cpp doesn't know in files of {}",
        refused,
        architecture.name));
  }
  const ModelSpec written =
      architecture.folds_factors ? without_factors(spec) : spec;
  GgufModel model = describe_gguf_metadata(
      written,
      language_config(config),
      family,
      architecture);
  model.tensors = list_gguf_tensors(spec, family, architecture);
  check_agreement(model, written, family);
  Zeros zeros(architecture, model);
  for (std::size_t i = 0; i < spec.layers.size(); ++i) {
    zeros.add_to(i, spec.layers[i], spec.dim);
  }
  if (architecture.needs_output_biases && !spec.head_bias) {
    model.factors.emplace_back(
        "output.bias",
        std::vector<float>(static_cast<std::size_t>(spec.vocab)));
  }
  model.warning = unlike_in_llama_cpp(architecture, spec);
  return model;
}

}  // namespace roofline
