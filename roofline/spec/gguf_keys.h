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

  /// Blocks after the layers that only guess further tokens.
  std::size_t extra_layers() {
    const auto extra = integer("nextn_predict_layers", {0, 64});
    return static_cast<std::size_t>(extra.value_or(0));
  }

  /// A number for each layer: the file has one for all, or a list, which may
  /// go on to the blocks after them.
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
    check_length(name, listed->size(), layers);
    return std::vector<int>(
        listed->begin(),
        listed->begin() + static_cast<std::ptrdiff_t>(layers));
  }

  /// The same of yes and no, a list or nothing.
  std::optional<std::vector<bool>> flags(
      std::string_view name,
      std::size_t layers) {
    const nlohmann::json* value = fields.find(key(name));
    if (!value || !value->is_array()) {
      return std::nullopt;
    }
    check_length(name, value->size(), layers);
    std::vector<bool> out;
    for (std::size_t i = 0; i < layers; ++i) {
      const nlohmann::json& flag = (*value)[i];
      out.push_back(flag == nlohmann::json(true) || flag == nlohmann::json(1));
    }
    return out;
  }

  const std::string& prefix() const { return prefix_; }

  Fields fields;

 private:
  void check_length(
      std::string_view name,
      std::size_t length,
      std::size_t layers) {
    if (length != layers && length != layers + extra_layers()) {
      fields.refuse(
          key(name),
          fmt::format("There must be one entry for each of {} layers", layers));
    }
  }

  std::string prefix_;
};

}  // namespace roofline
