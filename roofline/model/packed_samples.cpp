#include "roofline/model/packed_samples.h"

namespace roofline {

namespace {

bool same(const RopeSpec& a, const RopeSpec& b) {
  if (a.layout != b.layout || a.rotated_dims != b.rotated_dims ||
      a.regimes.size() != b.regimes.size() ||
      a.dynamic.has_value() != b.dynamic.has_value() ||
      (a.dynamic && (a.dynamic->theta != b.dynamic->theta ||
                     a.dynamic->factor != b.dynamic->factor ||
                     a.dynamic->max_tokens != b.dynamic->max_tokens))) {
    return false;
  }
  for (std::size_t i = 0; i < a.regimes.size(); ++i) {
    if (a.regimes[i].frequencies != b.regimes[i].frequencies ||
        a.regimes[i].magnitude != b.regimes[i].magnitude ||
        a.regimes[i].max_tokens != b.regimes[i].max_tokens) {
      return false;
    }
  }
  return true;
}

}  // namespace

PackedSamples::PackedSamples(std::span<const int> first)
    : first_(std::make_shared<const std::vector<int>>(
          first.begin(),
          first.end())) {}

bool PackedSamples::can(const AttentionSpec& spec) {
  const bool plain_heads =
      !spec.latent && !spec.shares_kv_of_layer && !spec.output_gate &&
      !spec.sinks && spec.value_dim.value_or(spec.head_dim) == spec.head_dim;
  return plain_heads && !spec.query_temperature && spec.key_scale == 1.0f &&
         (spec.qk_norm == QkNorm::none ||
          spec.qk_norm_place == QkNormPlace::before_rope);
}

std::shared_ptr<const RopeTable> PackedSamples::rope_table(
    const RopeSpec& spec) const {
  for (const auto& [known, table] : tables_) {
    if (same(known, spec)) {
      return table;
    }
  }
  tables_.emplace_back(
      spec,
      std::make_shared<const RopeTable>(make_rope_table(spec, *first_)));
  return tables_.back().second;
}

PackedAttention PackedSamples::attention(const AttentionSpec& spec) const {
  PackedAttention args;
  args.heads = spec.heads;
  args.kv_heads = spec.kv_heads;
  args.head_dim = spec.head_dim;
  args.scale = spec.scale;
  args.window_tokens = spec.window_tokens;
  args.softcap = spec.softcap;
  args.first = first_;
  args.rope = spec.rope ? rope_table(*spec.rope) : nullptr;
  return args;
}

}  // namespace roofline
