#include "roofline/spec/read_windows.h"

#include <algorithm>
#include <cstdint>

#include <fmt/format.h>

#include "roofline/base/errors.h"

namespace roofline {

namespace {

using Json = nlohmann::json;

// Longer than any model's.
constexpr IntRange kWindow{1, 1 << 30};

std::optional<int> read_window(Fields& config, const Family& family) {
  if (family.window == WindowRule::none) {
    return std::nullopt;
  }
  if (family.window_switch &&
      !config.flag("use_sliding_window").value_or(false)) {
    config.find("sliding_window");
    return std::nullopt;
  }
  const bool absent = !config.object().contains("sliding_window");
  const auto given = config.integer("sliding_window", kWindow);
  std::optional<int> window = absent ? family.window_tokens : std::nullopt;
  if (given) {
    window = static_cast<int>(*given);
  }
  // A second name that the first files of Gemma 2 have.
  const auto twin = config.integer("sliding_window_size", kWindow);
  if (twin && (!window || *twin != *window)) {
    config.refuse("sliding_window_size", "It must be that of sliding_window");
  }
  return window;
}

std::vector<bool> windows_by_type(
    Fields& config,
    const Json& types,
    std::size_t layers) {
  if (!types.is_array() || types.size() != layers) {
    config.refuse(
        "layer_types",
        fmt::format("There must be one name for each of {} layers", layers));
  }
  std::vector<bool> windowed;
  for (const Json& type : types) {
    if (type != "full_attention" && type != "sliding_attention") {
      fail<UnsupportedError>(
          fmt::format("{} has {}", config.label("layer_types"), shown(type)),
          "Known are full_attention and sliding_attention",
          "");
    }
    windowed.push_back(type == "sliding_attention");
  }
  return windowed;
}

/// true: a layer with a window; repeated over the layers. A number means that
/// every so many-th layer sees all; "LLLG" lists local and global ones.
std::vector<bool> read_pattern(Fields& config, const Family& family) {
  constexpr std::string_view kName = "sliding_window_pattern";
  // A note of the program that wrote the file.
  config.find("_sliding_window_pattern");
  const Json* given = config.find(kName);
  if (given && given->is_string()) {
    const std::string& letters = given->get_ref<const std::string&>();
    if (letters.empty() || letters.size() > kMaxLayers ||
        letters.find_first_not_of("LG") != std::string::npos) {
      config.refuse(kName, "Its letters must be L (local) and G (global)");
    }
    std::vector<bool> out;
    for (const char letter : letters) {
      out.push_back(letter == 'L');
    }
    return out;
  }
  // Where there are no windows some files have zero.
  const auto period =
      config.integer(kName, {0, kMaxLayers}).value_or(family.window_pattern);
  std::vector<bool> out(std::max<std::int64_t>(period, 1), true);
  out.back() = false;
  return out;
}

/// true: the layer sees a window only (if the model has one at all).
std::vector<bool> windows_by_rule(
    Fields& config,
    const Family& family,
    const std::vector<bool>& roped) {
  std::vector<bool> windowed(roped.size(), family.window == WindowRule::all);
  std::int64_t first = INT64_MAX;
  const bool even = family.window == WindowRule::even_below_first;
  if (family.window == WindowRule::past_first || even) {
    first = config.integer("max_window_layers", {0, 1 << 20})
                .value_or(family.window_first);
  }
  const std::vector<bool> pattern = family.window == WindowRule::pattern
                                        ? read_pattern(config, family)
                                        : std::vector<bool>();
  for (std::size_t i = 0; i < windowed.size(); ++i) {
    const auto layer = static_cast<std::int64_t>(i);
    if (family.window == WindowRule::past_first) {
      windowed[i] = layer >= first;
    } else if (even) {
      windowed[i] = layer % 2 == 0 && layer < first;
    } else if (family.window == WindowRule::pattern) {
      windowed[i] = pattern[i % pattern.size()];
    } else if (family.window == WindowRule::without_rope) {
      windowed[i] = !roped[i];
    }
  }
  return windowed;
}

}  // namespace

Windows read_windows(
    Fields& config,
    const Family& family,
    const std::vector<bool>& roped) {
  const std::optional<int> window = read_window(config, family);
  const std::vector<bool> by_rule = windows_by_rule(config, family, roped);
  Windows out;
  out.any = window.has_value();
  out.layers.resize(roped.size());
  const Json* types = config.find("layer_types");
  std::vector<bool> by_type =
      types ? windows_by_type(config, *types, roped.size()) : by_rule;
  if (family.last_sees_all && !by_type.empty()) {
    by_type.back() = false;
  }
  for (std::size_t i = 0; i < out.layers.size(); ++i) {
    if (types && by_type[i] && !window) {
      config.refuse(
          "layer_types",
          "It names sliding_attention where there is no sliding_window");
    }
    if (types && !family.layer_types &&
        by_type[i] != (by_rule[i] && window.has_value())) {
      fail<UnsupportedError>(
          fmt::format("{} mixes kinds of layers", config.label("layer_types")),
          fmt::format("All layers of family {} are alike", family.name),
          "");
    }
    out.layers[i] = by_type[i] ? window : std::nullopt;
  }
  return out;
}

}  // namespace roofline
