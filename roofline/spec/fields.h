// Reads the fields of one JSON object with types and bounds checked, and
// remembers which were read, so that what nobody understood can be refused.
// Every error names the field and its value. null counts as absent
// but for flags.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

namespace roofline {

/// Bounds on sizes in a config, far above any model, so that a hostile one
/// can't make us allocate.
inline constexpr std::int64_t kMaxLayers = 4096;
inline constexpr std::int64_t kMaxDim = std::int64_t{1} << 20;
inline constexpr std::int64_t kMaxVocab = std::int64_t{1} << 24;
inline constexpr std::int64_t kMaxHeadDim = 4096;
inline constexpr std::int64_t kMaxContext = std::int64_t{1} << 40;

struct IntRange {
  std::int64_t low = 0;
  std::int64_t high = 0;
};

struct NumberRange {
  double low = 0;
  double high = 0;
};

inline constexpr IntRange kDims{1, kMaxDim};
inline constexpr IntRange kNoneOrDims{0, kMaxDim};
inline constexpr NumberRange kMultiplier{-1e9, 1e9};

/// "-4", "\"abc\"", "an array of 3": short and safe for any value.
std::string shown(const nlohmann::json& value);

/// Throws CheckpointError when values are nested absurdly deep: copying and
/// comparing them descends on the stack. what: "config.json", for the message.
void refuse_deep_nesting(const nlohmann::json& value, std::string_view what);

class Fields {
 public:
  /// object must outlive this. prefix stands before each name in messages,
  /// e.g. "config.json: rope_scaling.". Throws CheckpointError unless it is an
  /// object.
  Fields(const nlohmann::json& object, std::string prefix);

  /// The raw value, or nullptr when absent or null. Counts as read.
  const nlohmann::json* find(std::string_view name);
  std::optional<std::int64_t> integer(std::string_view name, IntRange range);
  std::optional<double> number(std::string_view name, NumberRange range);
  std::optional<bool> flag(std::string_view name);
  std::optional<std::string> text(std::string_view name);
  std::optional<std::vector<double>> numbers(
      std::string_view name,
      NumberRange range,
      std::size_t most);
  std::optional<std::vector<std::int64_t>> integers(
      std::string_view name,
      IntRange range,
      std::size_t most);
  /// As integer, but absent is a CheckpointError.
  std::int64_t needed_integer(std::string_view name, IntRange range);
  double needed_number(std::string_view name, NumberRange range);

  /// Throws CheckpointError about one field: "config.json: x = v. why."
  [[noreturn]] void refuse(std::string_view name, std::string_view why) const;
  /// The full name of a field in messages.
  std::string label(std::string_view name) const;

  /// Names present, not null and never read.
  std::vector<std::string> unread() const;
  /// Names read so far, present or not.
  std::vector<std::string> known() const;
  const nlohmann::json& object() const { return object_; }

 private:
  /// The array at name, or nullptr when absent or null.
  const nlohmann::json* list(std::string_view name, std::size_t most);

  const nlohmann::json& object_;
  std::string prefix_;
  std::set<std::string, std::less<>> read_;
};

}  // namespace roofline
