// How the keys and values of a cache are kept: as floats, or in codes of 8 or 4
// bits with a scale and a bias for each group of a head's dims
// (kernels/kv_codes), the first tokens as floats all the same: attention leans
// on them most. Recurrent states always stay floats.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "roofline/spec/model_spec.h"

namespace roofline {

struct KvFormat {
  int key_bits = 16;    ///< 8 or 4; 16: as floats
  int value_bits = 16;  ///< as key_bits
  int group_size = 64;  ///< values that share a scale and a bias: 32 or 64
  /// Of each sequence the first so many tokens stay floats.
  int keep_full = 0;

  bool in_codes() const { return key_bits < 16 || value_bits < 16; }
  bool operator==(const KvFormat&) const = default;
  /// "8 bits (group 64)", "keys 8, values 4 bits (group 32), first 4 in full".
  std::string text() const;
};

/// Throws UserError for a value that isn't one of those above.
void check_kv_format(const KvFormat& format);
/// Throws UserError when a model's cache can't be kept so: it has no keys and
/// values, or one array that is both and is asked for in two precisions.
void check_kv_format(const KvFormat& format, const ModelSpec& spec);

/// Bytes of so many values that one head keeps of a token: floats of
/// float_bytes each, or codes in whole groups with two 16-bit numbers each.
std::size_t kv_row_bytes(
    int dims,
    int bits,
    int group_size,
    std::size_t float_bytes);

/// Bytes that a layer keeps of one token when that is in codes, or when it is
/// kept in full. Nothing of a layer that uses another's.
std::size_t kv_token_bytes(
    const AttentionSpec& attention,
    const KvFormat& format,
    std::size_t float_bytes = 2);
std::size_t kv_full_token_bytes(
    const AttentionSpec& attention,
    std::size_t float_bytes = 2);

/// Bytes of one layer's keys and values that a step reads when `depth` tokens
/// are in the cache, of which it keeps max_tokens at most. A layer that uses
/// another's reads them too.
std::size_t kv_read_bytes(
    const AttentionSpec& attention,
    const KvFormat& format,
    std::int64_t depth,
    std::optional<int> max_tokens = std::nullopt,
    std::size_t float_bytes = 2);

}  // namespace roofline
