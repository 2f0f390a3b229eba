#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/base/nearest.h"
#include "roofline/spec/families.h"
#include "roofline/spec/fields.h"
#include "roofline/spec/gguf_keys.h"
#include "roofline/spec/gguf_layers.h"
#include "roofline/spec/nearest_family.h"
#include "roofline/spec/read_config.h"
#include "roofline/spec/read_gguf_mixture.h"
#include "roofline/spec/read_gguf_recurrent.h"

namespace roofline {

namespace {

using Json = nlohmann::json;

void read_scales(GgufKeys& keys, const Family& family, ModelSpec& spec) {
  if (family.embedding_scale_sqrt_dim) {
    spec.embedding_scale = std::sqrt(static_cast<float>(spec.dim));
  }
  if (family.multipliers) {
    const double embedding =
        keys.number("embedding_scale", kMultiplier).value_or(0.0);
    const double logits = keys.number("logit_scale", kMultiplier).value_or(0.0);
    spec.embedding_scale =
        static_cast<float>(embedding == 0.0 ? 1.0 : embedding);
    // The file has the divisor.
    spec.logit_scale = static_cast<float>(logits == 0.0 ? 1.0 : 1.0 / logits);
  }
  if (family.logit_scale) {
    const double scale = keys.number("logit_scale", kMultiplier).value_or(0.0);
    spec.logit_scale = static_cast<float>(scale == 0.0 ? 1.0 : scale);
  }
  spec.logit_softcap = read_gguf_softcap(
      keys,
      "final_logit_softcapping",
      family.logit_softcap_field,
      family.logit_softcap);
}

/// Absent, and what tools write for "none": −1 in 32 bits.
std::optional<std::int32_t> read_token(Fields& fields, std::string_view name) {
  const auto id = fields.integer(name, {-1, UINT32_MAX});
  if (!id || *id < 0 || *id > kMaxVocab) {
    return std::nullopt;
  }
  return static_cast<std::int32_t>(*id);
}

void read_vocabulary(GgufKeys& keys, ModelSpec& spec) {
  const IntRange sizes{1, kMaxVocab};
  const auto listed =
      keys.fields.integer("tokenizer.ggml.tokens.length", sizes);
  const auto given = keys.integer("vocab_size", sizes);
  spec.vocab = static_cast<int>(given.value_or(listed.value_or(0)));
  spec.bos_token = read_token(keys.fields, "tokenizer.ggml.bos_token_id");
  for (std::string_view name :
       {"tokenizer.ggml.eos_token_id",
        "tokenizer.ggml.eot_token_id",
        "tokenizer.ggml.eom_token_id"}) {
    const auto id = read_token(keys.fields, name);
    auto& tokens = spec.eos_tokens;
    if (id && std::find(tokens.begin(), tokens.end(), *id) == tokens.end()) {
      tokens.push_back(*id);
    }
  }
}

/// Keys of this architecture that don't change what is computed.
constexpr std::string_view kNotes[] = {
    "tensor_data_layout",
    // Files of families without positions have these too.
    "rope.dimension_count",
    "rope.freq_base",
    "rope.scaling.finetuned",
    "rope.scaling.original_context_length",
    "rope.scaling.yarn_log_multiplier",
    "rope.scaling.attn_factor",
    "rope.scale_linear",
    "rope.freq_base_swa",
    "attention.sliding_window_pattern",
    "attention.layer_norm_epsilon",
    "attention.layer_norm_rms_epsilon",
    "attention.key_length_swa",
    "attention.value_length_swa",
    "rope.dimension_count_swa",
    "use_parallel_residual",
};

void refuse_unknown_keys(GgufKeys& keys) {
  for (std::string_view note : kNotes) {
    keys.fields.find(keys.key(note));
  }
  for (const std::string& name : keys.fields.unread()) {
    if (name.rfind(keys.prefix(), 0) != 0) {
      continue;
    }
    const Json& value = keys.fields.object().at(name);
    const bool neutral =
        value == Json(false) || value == Json(0) ||
        (value.is_structured() && value.empty()) ||
        (name == keys.key("attention.causal") && value == Json(true)) ||
        (name == keys.key("rope.scaling.mscale") && value == Json(1.0));
    if (neutral) {
      continue;
    }
    const std::string near = did_you_mean(name, keys.fields.known());
    fail<UnsupportedError>(
        fmt::format(
            "The metadata has {} = {}",
            name.substr(0, 100),
            shown(value)),
        "It may change what the model computes, so it isn't ignored",
        near);
  }
}

const Family& family_of(
    const Json& metadata,
    std::span<const std::string> tensors) {
  Fields general(metadata, "");
  const auto name = general.text("general.architecture");
  if (!name) {
    general.refuse("general.architecture", "It names the family of the model");
  }
  if (const Family* family = find_gguf_family(*name)) {
    return *family;
  }
  refuse_unknown_architecture(metadata, *name, tensors);
}

}  // namespace

ModelSpec read_gguf_metadata(
    const Json& metadata,
    const GgufRopeFactors& rope,
    std::span<const std::string> tensors) {
  refuse_deep_nesting(metadata, "the metadata");
  const Family& family = family_of(metadata, tensors);
  GgufKeys keys(metadata, family);
  ModelSpec spec;
  spec.family = family.gguf_name;
  read_gguf_layers(keys, family, rope, spec);
  const std::vector<LayerSpec> whole = spec.layers;
  read_gguf_mixtures(keys, family, spec);
  read_gguf_recurrent(keys, family, whole, spec);
  read_scales(keys, family, spec);
  read_vocabulary(keys, spec);
  refuse_unknown_keys(keys);
  return spec;
}

}  // namespace roofline
