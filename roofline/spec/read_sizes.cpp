#include "roofline/spec/read_sizes.h"

#include <fmt/format.h>

#include "roofline/spec/read_recurrent.h"

namespace roofline {

namespace {

int size_or(Fields& config, std::string_view name, IntRange range, int other) {
  if (other == 0) {
    return static_cast<int>(config.needed_integer(name, range));
  }
  return static_cast<int>(config.integer(name, range).value_or(other));
}

/// A size under the family's name for it, or the usual one.
int named_size(
    Fields& config,
    std::string_view name,
    std::string_view usual,
    IntRange range,
    int other) {
  if (name != usual && !config.find(name) && config.find(usual)) {
    return size_or(config, usual, range, other);
  }
  return size_or(config, name, range, other);
}

/// Where there is one for each layer, that of the first.
int read_hidden(Fields& config, const Family& family, int dim) {
  const std::string_view name = family.names.hidden;
  const nlohmann::json* value = config.find(name);
  if (family.gate_sparsity && value && value->is_array()) {
    const auto listed = config.integers(name, kDims, kMaxLayers);
    if (listed->empty()) {
      config.refuse(name, "There must be one number for each layer");
    }
    return static_cast<int>(listed->front());
  }
  const int other = family.hidden_per_dim * dim + family.sizes.hidden;
  return size_or(config, name, kDims, other);
}

int read_kv_heads(Fields& config, const Family& family, int heads) {
  if (!family.shared_kv_heads) {
    return heads;
  }
  // null means "as many as heads" where absent means the family's default.
  const bool null = config.object().contains("num_key_value_heads") &&
                    !config.find("num_key_value_heads");
  const int other = null || family.kv_heads == 0 ? heads : family.kv_heads;
  return size_or(config, "num_key_value_heads", kDims, other);
}

int read_head_dim(Fields& config, const Family& family, const Sizes& sizes) {
  const auto given = config.integer("head_dim", {1, kMaxHeadDim});
  if (given) {
    return static_cast<int>(*given);
  }
  // null means dim / heads where absent means the family's default.
  if (family.head_dim != 0 && !config.object().contains("head_dim")) {
    return family.head_dim;
  }
  // The reference rounds down where it doesn't refuse.
  if (sizes.dim < sizes.heads) {
    config.refuse(
        family.names.dim,
        fmt::format(
            "It must be at least {}, {}, where head_dim isn't given",
            family.names.heads,
            sizes.heads));
  }
  if (sizes.dim / sizes.heads > kMaxHeadDim) {
    config.refuse(
        family.names.heads,
        fmt::format("Heads of more than {} dims can't be", kMaxHeadDim));
  }
  return sizes.dim / sizes.heads;
}

Sizes with_context(Fields& config, const Family& family, Sizes sizes) {
  const IntRange context{1, kMaxContext};
  const auto usual = config.integer(SizeNames().context, context);
  sizes.context = config.integer(family.names.context, context)
                      .value_or(usual.value_or(family.context_tokens));
  return sizes;
}

}  // namespace

Sizes read_sizes(Fields& config, const Family& family) {
  const DefaultSizes& other = family.sizes;
  Sizes sizes;
  const SizeNames& names = family.names;
  constexpr SizeNames kUsual;
  sizes.dim = named_size(config, names.dim, kUsual.dim, kDims, other.dim);
  const bool recurrent_only =
      family.recurrent &&
      family.recurrent->layers == MixerLayers::all_recurrent;
  if (!recurrent_only) {
    sizes.hidden = read_hidden(config, family, sizes.dim);
  }
  sizes.vocab = size_or(config, "vocab_size", {1, kMaxVocab}, other.vocab);
  const int listed =
      family.recurrent ? count_listed_layers(config, *family.recurrent) : 0;
  sizes.layers = named_size(
      config,
      names.layers,
      kUsual.layers,
      {1, kMaxLayers},
      listed > 0 ? listed : other.layers);
  sizes.layers = listed > 0 ? listed : sizes.layers;
  if (recurrent_only) {
    return with_context(config, family, sizes);
  }
  sizes.heads =
      named_size(config, names.heads, kUsual.heads, kDims, other.heads);
  sizes.kv_heads = read_kv_heads(config, family, sizes.heads);
  if (sizes.heads % sizes.kv_heads != 0) {
    config.refuse(
        names.heads,
        fmt::format(
            "It must be a multiple of num_key_value_heads, {}",
            sizes.kv_heads));
  }
  sizes.head_dim = read_head_dim(config, family, sizes);
  if (std::int64_t{sizes.heads} * sizes.head_dim > kMaxDim) {
    config.refuse(
        names.heads,
        fmt::format("Times head_dim, {}, it is too much", sizes.head_dim));
  }
  return with_context(config, family, sizes);
}

}  // namespace roofline
