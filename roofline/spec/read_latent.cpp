#include "roofline/spec/read_latent.h"

#include <cmath>

#include <fmt/format.h>

namespace roofline {

namespace {

using Json = nlohmann::json;

int size_or(Fields& config, std::string_view name, IntRange range, int other) {
  return static_cast<int>(config.integer(name, range).value_or(other));
}

/// The rank of the queries' latent: null means none.
std::optional<int> read_query_rank(Fields& config) {
  constexpr int kDefault = 1536;
  if (!config.object().contains("q_lora_rank")) {
    return kDefault;
  }
  const auto rank = config.integer("q_lora_rank", kDims);
  return rank ? std::optional(static_cast<int>(*rank)) : std::nullopt;
}

}  // namespace

void read_latent(Fields& config, AttentionSpec& attention) {
  const IntRange dims{1, kMaxHeadDim};
  LatentSpec latent;
  latent.q_rank = read_query_rank(config);
  latent.kv_rank = size_or(config, "kv_lora_rank", kDims, 512);
  latent.nope_dim = size_or(config, "qk_nope_head_dim", {0, kMaxHeadDim}, 128);
  latent.rope_dim = size_or(config, "qk_rope_head_dim", dims, 64);
  const int value_dim = size_or(config, "v_head_dim", dims, 128);
  // Copies that the program that wrote the file made.
  config.find("head_dim");
  config.find("qk_head_dim");
  const std::int64_t widest = latent.nope_dim + latent.rope_dim + value_dim;
  if (attention.heads * widest > kMaxDim) {
    config.refuse(
        "num_attention_heads",
        "Times the heads' dims it is too much");
  }
  attention.head_dim = latent.nope_dim + latent.rope_dim;
  attention.value_dim = value_dim;
  attention.latent = latent;
}

RopeLayout latent_rope_layout(Fields& config, const Family& family) {
  const FlagRule& rule = *family.latent;
  const bool interleaved = rule.field.empty()
                               ? rule.absent
                               : config.flag(rule.field).value_or(rule.absent);
  return interleaved ? RopeLayout::interleaved : RopeLayout::half_split;
}

float latent_scale_factor(Fields& config) {
  const Json* rope = config.find("rope_parameters");
  const Json* scaling = config.find("rope_scaling");
  rope = scaling && scaling->is_object() && !scaling->empty() ? scaling : rope;
  if (!rope || !rope->is_object()) {
    return 1.0f;
  }
  Fields fields(*rope, config.label("rope_parameters."));
  const auto type = fields.text("rope_type");
  const std::string kind =
      type ? *type : fields.text("type").value_or("default");
  const double all = fields.number("mscale_all_dim", {0.0, 1e6}).value_or(0.0);
  if (kind == "default" || all == 0.0) {
    return 1.0f;
  }
  const double factor = fields.needed_number("factor", {1e-6, 1e6});
  const double mscale =
      factor <= 1.0 ? 1.0 : 0.1 * all * std::log(factor) + 1.0;
  return static_cast<float>(mscale * mscale);
}

}  // namespace roofline
