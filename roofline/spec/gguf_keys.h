// Typed access to the metadata of one GGUF architecture: names are given
// without its prefix, and a number may stand for all layers or be a list.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "roofline/spec/families.h"
#include "roofline/spec/fields.h"

namespace roofline {

/// Metadata under the keys of one architecture: "llama." + name.
class GgufKeys {
 public:
  GgufKeys(const nlohmann::json& metadata, const Family& family)
      : fields(metadata, ""),
        prefix_(
            metadata.value(
                "general.architecture",
                std::string(family.gguf_name)) +
            '.') {}

  std::string key(std::string_view name) const {
    return prefix_ + std::string(name);
  }
  std::optional<std::int64_t> integer(std::string_view name, IntRange range) {
    return fields.integer(key(name), range);
  }
  std::optional<double> number(std::string_view name, NumberRange range) {
    return fields.number(key(name), range);
  }
  int size(std::string_view name, std::int64_t most) {
    return static_cast<int>(fields.needed_integer(key(name), {1, most}));
  }

  /// A number for each layer: the file has one for all, or a list.
  std::optional<std::vector<int>> per_layer(
      std::string_view name,
      IntRange range,
      std::size_t layers) {
    const nlohmann::json* value = fields.find(key(name));
    if (!value) {
      return std::nullopt;
    }
    if (!value->is_array()) {
      const auto number = fields.integer(key(name), range);
      return std::vector<int>(layers, static_cast<int>(*number));
    }
    const auto listed =
        fields.integers(key(name), range, static_cast<std::size_t>(kMaxLayers));
    if (listed->size() != layers) {
      fields.refuse(
          key(name),
          fmt::format(
              "There must be one number for each of {} layers",
              layers));
    }
    return std::vector<int>(listed->begin(), listed->end());
  }

  const std::string& prefix() const { return prefix_; }

  Fields fields;

 private:
  std::string prefix_;
};

}  // namespace roofline
