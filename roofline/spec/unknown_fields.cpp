#include "roofline/spec/unknown_fields.h"

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/base/nearest.h"
#include "roofline/spec/families.h"

namespace roofline {

namespace {

using Json = nlohmann::json;

/// The value at which a field of another family changes nothing here.
struct NeutralField {
  std::string_view name;
  Json value;
};

const std::vector<NeutralField>& neutral_fields() {
  static const std::vector<NeutralField> fields = {
      {"attn_output_gate", true},
      {"block_use_swiglu", true},
      {"causal", true},
      {"embedding_multiplier", 1.0},
      {"full_attn_mod", 1},
      {"interpolate_factor", 1},
      {"is_causal", true},
      {"layernorm_full_attention_alpha", 1.0},
      {"layernorm_full_attention_beta", 1.0},
      {"layernorm_linear_attention_alpha", 1.0},
      {"layernorm_linear_attention_beta", 1.0},
      {"layernorm_mlp_alpha", 1.0},
      {"layernorm_mlp_beta", 1.0},
      {"logit_scale", 1.0},
      {"logits_scaling", 1.0},
      {"mamba_use_mlp", true},
      {"num_experts", 0},
      {"num_local_experts", 0},
      {"position_embedding_type", "rope"},
      {"residual_multiplier", 1.0},
      {"routed_scaling_factor", 1.0},
      {"swa_rope_theta", -1.0},
      {"use_pos_enc", true},
      {"use_rope", true},
  };
  return fields;
}

bool is_neutral(std::string_view name, const Json& value) {
  for (const NeutralField& field : neutral_fields()) {
    if (field.name == name) {
      return field.value == value;
    }
  }
  const bool empty =
      (value.is_string() || value.is_structured()) &&
      (value.is_string() ? value.get_ref<const std::string&>().empty()
                         : value.empty());
  return empty || value == Json(false);
}

}  // namespace

std::vector<std::string> unknown_fields(const Fields& fields) {
  std::vector<std::string> out = fields.unread();
  std::erase_if(out, [&](const std::string& name) {
    return is_harmless_field(name) ||
           is_neutral(name, fields.object().at(name));
  });
  return out;
}

void refuse_unknown_fields(const Fields& fields, std::string_view owner) {
  for (const std::string& name : unknown_fields(fields)) {
    const Json& value = fields.object().at(name);
    const std::string near = did_you_mean(name, fields.known());
    fail<UnsupportedError>(
        fmt::format(
            "{} is {}, and {} has no such field",
            fields.label(name),
            shown(value),
            owner),
        "It may change what the model computes, so it isn't ignored",
        near.empty() ? "Remove it if it means nothing" : near);
  }
}

}  // namespace roofline
