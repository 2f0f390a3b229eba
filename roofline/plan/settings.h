// Settings of a run as a file (TOML): what `roofline optimize` found and what
// generate, chat and bench take with --settings, or by default for a model
// after --apply.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace roofline {

struct RunSettings {
  std::optional<std::string> model;
  std::optional<int> quant_bits;        ///< 4 or 8
  std::optional<int> quant_group_size;  ///< 32, 64 or 128
  std::optional<int> prefill_step;
  std::optional<int> threads;
  std::optional<std::string> isa;  ///< generic, avx2, avx512
  std::optional<int> prompt_lookup;
  std::optional<std::uint64_t> cache_limit_bytes;
  std::optional<std::uint64_t> wired_limit_bytes;
  std::optional<double> temperature;
};

/// Throws UserError with file, line and reason; unknown keys name the nearest.
RunSettings read_settings(const std::filesystem::path& path);
std::string settings_toml(const RunSettings& settings);
/// Whole or not at all.
void write_settings(
    const RunSettings& settings,
    const std::filesystem::path& path);

/// Where --apply keeps a model's settings: by the checkpoint's fingerprint, in
/// the folder of caches' neighbour for data.
std::filesystem::path applied_settings_path(std::string_view fingerprint);

}  // namespace roofline
