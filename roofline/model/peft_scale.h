// What PEFT's config scales an adapter's matrices with.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>

namespace roofline {

/// Scales by PEFT's rules: alpha / rank, or alpha / √rank with use_rslora. A
/// module's own alpha and rank are those of the first key in the pattern, in
/// the file's order, that fits the end of its name.
class PeftScales {
 public:
  /// Throws CheckpointError where the config can't be read.
  explicit PeftScales(const std::filesystem::path& folder);

  /// Of modules that no pattern names; nullopt: the config gives them no rank
  /// or no alpha.
  std::optional<float> general() const;
  /// Of a module ("model.layers.0.self_attn.q_proj"). Throws CheckpointError
  /// where there is none, or what should be a number isn't one.
  float of(const std::string& module) const;

 private:
  std::optional<double> number(const char* key) const;
  std::optional<double> in_pattern(
      const char* pattern,
      const std::string& module) const;
  float scale(double alpha, double rank) const;

  std::filesystem::path folder_;
  nlohmann::ordered_json config_;
};

}  // namespace roofline
