#include "roofline/model/kv_format.h"

#include <algorithm>

#include <fmt/format.h>

#include "roofline/base/errors.h"

namespace roofline {

namespace {

/// A scale and a bias in 16 bits.
constexpr std::size_t kGroupBytes = 4;

void check_bits(const char* what, int bits) {
  if (bits != 16 && bits != 8 && bits != 4) {
    fail<UserError>(
        fmt::format("{} can't have {} bits in the cache", what, bits),
        "There are codes of 8 and of 4 bits, and 16 for floats",
        "Give 8, 4 or 16.");
  }
}

}  // namespace

std::string KvFormat::text() const {
  std::string text =
      key_bits == value_bits
          ? fmt::format("{} bits", key_bits)
          : fmt::format("keys {}, values {} bits", key_bits, value_bits);
  if (in_codes()) {
    text += fmt::format(" (group {})", group_size);
  }
  if (keep_full > 0) {
    text += fmt::format(", first {} in full", keep_full);
  }
  return text;
}

void check_kv_format(const KvFormat& format) {
  check_bits("Keys", format.key_bits);
  check_bits("Values", format.value_bits);
  if (format.group_size != 32 && format.group_size != 64) {
    fail<UserError>(
        fmt::format("A cache has no groups of {}", format.group_size),
        "Scales are kept for each 32 or each 64 values",
        "Give 32 or 64.");
  }
  if (format.keep_full < 0) {
    fail<UserError>(
        fmt::format("{} tokens can't be kept in full", format.keep_full),
        "It is a number of tokens",
        "Give at least 0.");
  }
}

void check_kv_format(const KvFormat& format, const ModelSpec& spec) {
  check_kv_format(format);
  if (!format.in_codes()) {
    return;
  }
  bool any = false;
  for (const auto& layer : spec.layers) {
    any = any || layer.attention.has_value();
    if (layer.attention && layer.attention->latent &&
        format.key_bits != format.value_bits) {
      fail<UserError>(
          fmt::format(
              "Keys of {} and values of {} bits can't be kept for this model",
              format.key_bits,
              format.value_bits),
          "Its cache holds latents, each of them key and value in one",
          "Give both the same bits: --kv-bits 8 or 4.");
    }
  }
  if (!any) {
    fail<UserError>(
        "This model's cache can't be kept in codes",
        "Its layers are recurrent: they have states, which stay floats, and no "
        "keys and values",
        "Leave --kv-bits, --k-bits and --v-bits out.");
  }
}

std::size_t kv_row_bytes(
    int dims,
    int bits,
    int group_size,
    std::size_t float_bytes) {
  if (bits >= 16) {
    return static_cast<std::size_t>(dims) * float_bytes;
  }
  const auto groups =
      static_cast<std::size_t>((dims + group_size - 1) / group_size);
  return groups *
         (static_cast<std::size_t>(group_size * bits / 8) + kGroupBytes);
}

std::size_t kv_token_bytes(
    const AttentionSpec& attention,
    const KvFormat& format,
    std::size_t float_bytes) {
  if (attention.shares_kv_of_layer) {
    return 0;
  }
  const auto row = [&](int dims, int bits) {
    return kv_row_bytes(dims, bits, format.group_size, float_bytes);
  };
  if (attention.latent) {
    const auto& latent = *attention.latent;
    return row(latent.kv_rank + latent.rope_dim, format.key_bits);
  }
  const int value_dim = attention.value_dim.value_or(attention.head_dim);
  return static_cast<std::size_t>(attention.kv_heads) *
         (row(attention.head_dim, format.key_bits) +
          row(value_dim, format.value_bits));
}

std::size_t kv_full_token_bytes(
    const AttentionSpec& attention,
    std::size_t float_bytes) {
  return kv_token_bytes(attention, KvFormat{}, float_bytes);
}

std::size_t kv_read_bytes(
    const AttentionSpec& attention,
    const KvFormat& format,
    std::int64_t depth,
    std::optional<int> max_tokens,
    std::size_t float_bytes) {
  AttentionSpec own = attention;
  own.shares_kv_of_layer.reset();
  depth = std::max<std::int64_t>(0, depth);
  std::int64_t seen = depth;
  if (max_tokens) {
    seen = std::min<std::int64_t>(seen, *max_tokens);
  }
  std::int64_t hidden = 0;  // of the first tokens
  if (own.window_tokens && *own.window_tokens < seen) {
    seen = *own.window_tokens;
    hidden = depth - seen;
  }
  const std::int64_t full =
      format.in_codes()
          ? std::clamp<std::int64_t>(format.keep_full - hidden, 0, seen)
          : 0;
  return static_cast<std::size_t>(full) *
             kv_full_token_bytes(own, float_bytes) +
         static_cast<std::size_t>(seen - full) *
             kv_token_bytes(own, format, float_bytes);
}

}  // namespace roofline
