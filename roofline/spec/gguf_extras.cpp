#include "roofline/spec/gguf_extras.h"

#include <cmath>

#include <fmt/format.h>

#include "roofline/spec/read_extras.h"

namespace roofline {

namespace {

using Json = nlohmann::json;

/// The file has the normal distribution's quantiles, −∞ for none.
void read_sparsity(GgufKeys& keys, ModelSpec& spec) {
  const std::string key = keys.key("activation_sparsity_scale");
  const Json* scales = keys.fields.find(key);
  if (!scales) {
    return;
  }
  if (!scales->is_array() || scales->size() != spec.layers.size()) {
    keys.fields.refuse(
        key,
        fmt::format(
            "There must be one number for each of {} layers",
            spec.layers.size()));
  }
  for (std::size_t i = 0; i < spec.layers.size(); ++i) {
    const Json& scale = (*scales)[i];
    if (!scale.is_number() || !(scale.get<double>() < 6.0)) {
      keys.fields.refuse(key, "Each must be a number below 6");
    }
    const double share = 0.5 * std::erfc(-scale.get<double>() / M_SQRT2);
    if (share > 1e-6) {
      spec.layers[i].feed_forward->gate_sparsity = static_cast<float>(share);
    }
  }
}

void read_streams(GgufKeys& keys, ModelSpec& spec) {
  AlternatingStreams streams;
  streams.count = static_cast<int>(
      keys.integer("altup.num_inputs", {1, 64}).value_or(streams.count));
  streams.active =
      static_cast<int>(keys.integer("altup.active_idx", {0, streams.count - 1})
                           .value_or(streams.active));
  spec.streams = streams;
}

}  // namespace

void read_gguf_extras(GgufKeys& keys, const Family& family, ModelSpec& spec) {
  if (family.shared_kv_layers) {
    constexpr std::string_view kName = "attention.shared_kv_layers";
    const auto most = static_cast<std::int64_t>(spec.layers.size()) - 1;
    const auto shared = keys.integer(kName, {0, most}).value_or(0);
    share_keys_and_values(
        keys.fields,
        keys.key(kName),
        static_cast<std::size_t>(shared),
        spec);
  }
  if (family.gate_sparsity) {
    read_sparsity(keys, spec);
  }
  if (family.per_layer_embedding) {
    const auto width = static_cast<int>(
        keys.integer("embedding_length_per_layer_input", {0, kMaxDim})
            .value_or(0));
    if (width > 0) {
      spec.per_layer_embedding = width;
    }
  }
  if (family.streams) {
    read_streams(keys, spec);
  }
  for (LayerSpec& layer : spec.layers) {
    layer.output_scalar = family.output_scalar;
    if (family.twin_rank) {
      // Read from the tensors' sizes where the metadata are read.
      layer.low_rank_twin =
          static_cast<int>(keys.integer("laurel_rank", {1, kMaxDim})
                               .value_or(*family.twin_rank));
    }
  }
}

}  // namespace roofline
