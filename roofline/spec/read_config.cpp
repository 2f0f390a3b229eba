#include "roofline/spec/read_config.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/base/nearest.h"
#include "roofline/spec/families.h"
#include "roofline/spec/fields.h"
#include "roofline/spec/nearest_family.h"
#include "roofline/spec/planned_families.h"
#include "roofline/spec/read_layers.h"
#include "roofline/spec/read_quantization.h"
#include "roofline/spec/read_text_config.h"
#include "roofline/spec/unknown_fields.h"

namespace roofline {

namespace {

using Json = nlohmann::json;

constexpr NumberRange kPositive{1e-9, 1e9};

/// A multimodal config whose "text_config" is of one of our families.
struct Wrapper {
  std::string_view name;
  std::string_view text_family;  ///< where "text_config" names none
  std::string_view other_family = {};
};

constexpr std::array kWrappers = {
    Wrapper{"gemma3", "gemma3_text"},
    Wrapper{"gemma3n", "gemma3n_text"},
    Wrapper{"gemma4", "gemma4_text"},
    Wrapper{"mistral3", "mistral", "ministral3"},
    Wrapper{"qwen3_5", "qwen3_5_text"},
    Wrapper{"qwen3_5_moe", "qwen3_5_moe_text"},
};

// Of parts that a language model doesn't use.
constexpr std::array<std::string_view, 16> kOtherParts = {
    "audio_config",
    "audio_soft_tokens_per_image",
    "audio_token_id",
    "boa_token_id",
    "eoa_token_id",
    "eoa_token_index",
    "mm_tokens_per_image",
    "multimodal_projector_bias",
    "projector_hidden_act",
    "spatial_merge_size",
    "video_token_id",
    "vision_config",
    "vision_end_token_id",
    "vision_feature_layer",
    "vision_soft_tokens_per_image",
    "vision_start_token_id"};

std::vector<std::int32_t> read_token_ids(
    Fields& config,
    std::string_view name) {
  const Json* value = config.find(name);
  if (!value) {
    return {};
  }
  // Some files write "none" as -1.
  std::vector<std::int32_t> ids;
  if (!value->is_array()) {
    ids.push_back(
        static_cast<std::int32_t>(*config.integer(name, {-1, kMaxVocab})));
  } else {
    const auto listed = config.integers(name, {-1, kMaxVocab}, 1024);
    ids.assign(listed->begin(), listed->end());
  }
  ids.erase(std::remove(ids.begin(), ids.end(), -1), ids.end());
  return ids;
}

void read_tokens(Fields& config, ModelSpec& spec) {
  const auto eos = read_token_ids(config, "eos_token_id");
  const auto bos = read_token_ids(config, "bos_token_id");
  if (!eos.empty()) {
    spec.eos_tokens = eos;
  }
  if (!bos.empty()) {
    spec.bos_token = bos.front();
  }
}

/// Unlike other flags, null means nothing here.
std::optional<bool> tied_flag(Fields& config, std::string_view name) {
  return config.find(name) ? config.flag(name) : std::nullopt;
}

void refuse_flag(Fields& config, std::string_view name, std::string_view why) {
  if (config.flag(name).value_or(false)) {
    fail<UnsupportedError>(
        fmt::format("{} is true", config.label(name)),
        why,
        "");
  }
}

ModelSpec read_wrapped(Fields& outer, const Wrapper& wrapper) {
  const Json* text = outer.find("text_config");
  if (!text) {
    outer.refuse("text_config", "The language model is described there");
  }
  for (std::string_view name : kOtherParts) {
    outer.find(name);
  }
  Json inside = *text;
  const auto vocab = outer.integer("vocab_size", {1, kMaxVocab});
  if (vocab && inside.is_object() && !inside.contains("vocab_size")) {
    inside["vocab_size"] = *vocab;
  }
  Fields config(inside, outer.label("text_config."));
  const std::string inner =
      config.text("model_type").value_or(std::string(wrapper.text_family));
  if (inner != wrapper.text_family &&
      (inner.empty() || inner != wrapper.other_family)) {
    fail<UnsupportedError>(
        fmt::format("{} is {}", config.label("model_type"), shown(inner)),
        fmt::format(
            "In a config of {} it must be {}",
            wrapper.name,
            wrapper.text_family),
        "");
  }
  const Family& family = *find_family(inner);
  ModelSpec spec = read_text_config(config, family);
  spec.family = wrapper.name;
  // The whole model's flag ties, as in `transformers`; MLX's folders have the
  // language model's. A head of other values wins over both.
  const auto tied = tied_flag(outer, "tie_word_embeddings");
  if (!config.find("tie_word_embeddings")) {
    spec.tied_embeddings = tied.value_or(family.tied);
  }
  spec.tied_embeddings |= tied.value_or(false);
  // A copy that MLX's folders have.
  if (vocab.value_or(spec.vocab) != spec.vocab) {
    outer.refuse("vocab_size", "It must be that of the text_config");
  }
  read_tokens(outer, spec);
  read_quantization(config);
  refuse_unknown_fields(config, fmt::format("family {}", wrapper.name));
  return spec;
}

}  // namespace

ModelSpec read_text_config(Fields& config, const Family& family) {
  for (std::string_view note : family.notes) {
    config.find(note);
  }
  ModelSpec spec;
  spec.family = family.name;
  const Sizes sizes = read_sizes(config, family);
  spec.dim = sizes.dim;
  spec.vocab = sizes.vocab;
  spec.context_tokens = sizes.context;
  read_layers(config, family, sizes, spec);
  spec.tied_embeddings =
      tied_flag(config, "tie_word_embeddings").value_or(family.tied);
  if (!family.tied_field.empty()) {
    spec.tied_embeddings =
        tied_flag(config, family.tied_field).value_or(spec.tied_embeddings);
  }
  spec.tied_embeddings &= !family.never_tied;
  if (family.embedding_scale_sqrt_dim) {
    spec.embedding_scale = std::sqrt(static_cast<float>(sizes.dim));
  }
  if (family.multipliers) {
    spec.embedding_scale = static_cast<float>(
        config.number("embedding_multiplier", kMultiplier).value_or(1.0));
    spec.logit_scale = static_cast<float>(
        1.0 / config.number("logits_scaling", kPositive).value_or(1.0));
  }
  if (family.logit_scale) {
    spec.logit_scale =
        static_cast<float>(config.number("logit_scale", kMultiplier)
                               .value_or(*family.logit_scale));
  }
  spec.head_bias = family.head_bias.field.empty()
                       ? family.head_bias.absent
                       : config.flag(family.head_bias.field)
                             .value_or(family.head_bias.absent);
  if (family.learned_positions) {
    spec.learned_positions =
        static_cast<int>(std::min<std::int64_t>(sizes.context, kMaxVocab));
  }
  spec.logit_softcap = read_softcap(
      config,
      "final_logit_softcapping",
      family.logit_softcap_field,
      family.logit_softcap);
  if (family.extra_layers) {
    const IntRange range{0, 64};
    const auto old_name = config.integer("num_nextn_predict_layers", range);
    const auto new_name = config.integer("num_mtp_layers", range);
    spec.extra_layers =
        static_cast<int>(new_name.value_or(old_name.value_or(1)));
  }
  read_tokens(config, spec);
  // "vision": among the tokens of an image.
  const Json* both_ways = config.find("use_bidirectional_attention");
  if (both_ways && *both_ways != Json(false) && *both_ways != Json("vision")) {
    fail<UnsupportedError>(
        fmt::format(
            "{} is {}",
            config.label("use_bidirectional_attention"),
            shown(*both_ways)),
        "Roofline's attention is causal",
        "");
  }
  refuse_flag(
      config,
      "rope_interleaved",
      "Dims of this family rotate half-split");
  return spec;
}

ModelSpec read_config(
    const Json& config,
    std::span<const std::string> tensors) {
  refuse_deep_nesting(config, "config.json");
  Fields fields(config, "config.json: ");
  const auto type = fields.text("model_type");
  if (!type) {
    fields.refuse("model_type", "It names the family of the model");
  }
  if (const PlannedFamily* planned = find_planned_family(*type)) {
    ModelSpec spec = read_planned(fields, *planned);
    read_tokens(fields, spec);
    return spec;
  }
  const auto wrapper = std::find_if(
      kWrappers.begin(),
      kWrappers.end(),
      [&](const Wrapper& candidate) { return candidate.name == *type; });
  const Family* family = find_family(*type);
  if (wrapper == kWrappers.end() && family == nullptr) {
    refuse_unknown_family(config, *type, tensors, known_families());
  }
  ModelSpec spec = wrapper != kWrappers.end()
                       ? read_wrapped(fields, *wrapper)
                       : read_text_config(fields, *family);
  spec.quantization = read_quantization(fields);
  refuse_unknown_fields(fields, "family " + *type);
  return spec;
}

std::vector<std::string> known_families() {
  std::vector<std::string> names;
  for (const Family& family : families()) {
    names.emplace_back(family.name);
  }
  for (const Wrapper& wrapper : kWrappers) {
    names.emplace_back(wrapper.name);
  }
  for (const PlannedFamily& family : planned_families()) {
    names.emplace_back(family.name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace roofline
