// How a model is to be run, as one value that can be kept in a TOML file:
// roofline optimize writes one, the commands that run a model read it. What is
// absent keeps its default.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "roofline/model/kv_format.h"

namespace roofline {

/// A cache in codes, as options and settings ask for it: what is absent follows
/// from the rest.
struct KvChoice {
  std::optional<int> bits;        ///< of keys and of values
  std::optional<int> key_bits;    ///< counts more than bits
  std::optional<int> value_bits;  ///< as key_bits
  std::optional<int> group_size;
  std::optional<int> keep_full;

  bool any() const;
  /// Throws UserError for a bad value, and for a group or tokens in full
  /// without codes.
  KvFormat resolve() const;
};

struct RunSettings {
  /// Run where no other is named.
  std::optional<std::string> model;
  std::optional<std::string> quant;  ///< none, int4 or int8
  std::optional<int> group_size;     ///< 32, 64 or 128; only with quant
  /// Parts that have 8 bits with int4, comma between (spec/tensor_parts.h).
  std::optional<std::string> quant_8bit;
  /// Bits of a cached value, 8 or 4 in codes; of keys and of values where they
  /// differ; values that share a scale; first tokens that stay floats.
  std::optional<int> kv_bits, k_bits, v_bits, kv_group_size, kv_keep_full;
  std::optional<int> prefill_step;   ///< tokens
  std::optional<int> prompt_lookup;  ///< tokens looked up at most; 0: off
  /// A smaller model that guesses, and how many tokens at most.
  std::optional<std::string> draft_model;
  std::optional<int> num_draft_tokens;
  /// Sequences in one step, where a command runs several at once.
  std::optional<int> batch;
  std::optional<int> threads;
  std::optional<std::string> isa;  ///< generic, avx2, avx512, amx, …
  /// What MLX keeps of freed memory, and what it wires down on macOS.
  std::optional<std::int64_t> cache_limit_bytes;
  std::optional<std::int64_t> wired_limit_bytes;
  std::optional<int> max_tokens;
  std::optional<int> max_kv;  ///< positions of a rotating cache
  std::optional<double> temperature;
  std::optional<double> top_p;
  std::optional<double> min_p;
  std::optional<int> top_k;
  std::optional<double> repetition_penalty;

  bool operator==(const RunSettings&) const = default;
  KvChoice kv() const;
  /// "int4 (group 64), 2 threads, avx2"; "defaults" when nothing is set.
  std::string text() const;
};

/// `source` names the text in messages. Throws UserError for what isn't TOML,
/// for a key that isn't known (with the nearest) and for a bad value.
RunSettings parse_settings(std::string_view toml, std::string_view source);
/// Opens with `comment`, each of its lines behind a #.
std::string settings_toml(
    const RunSettings& settings,
    std::string_view comment = {});

/// Throws UserError, also when the file can't be read.
RunSettings read_settings(const std::filesystem::path& path);
void write_settings(
    const std::filesystem::path& path,
    const RunSettings& settings,
    std::string_view comment = {});

/// Where the default settings of a model's file or folder are kept:
/// cache_dir()/settings/<digest of the path>.toml. They belong to this machine,
/// so they lie with its caches.
std::filesystem::path default_settings_path(const std::filesystem::path& model);

/// Makes the limits of memory MLX's own. Before the first allocation.
void apply_memory_limits(const RunSettings& settings);

}  // namespace roofline
