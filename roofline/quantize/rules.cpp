#include "roofline/quantize/rules.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/base/nearest.h"

namespace roofline {

namespace {

std::vector<std::string_view> split(std::string_view text) {
  std::vector<std::string_view> parts;
  while (true) {
    const auto dot = text.find('.');
    parts.push_back(text.substr(0, dot));
    if (dot == text.npos) {
      return parts;
    }
    text.remove_prefix(dot + 1);
  }
}

/// `*` stands for any characters, none included.
bool glob(std::string_view pattern, std::string_view text) {
  if (pattern.empty()) {
    return text.empty();
  }
  if (pattern[0] == '*') {
    return glob(pattern.substr(1), text) ||
           (!text.empty() && glob(pattern, text.substr(1)));
  }
  return !text.empty() && pattern[0] == text[0] &&
         glob(pattern.substr(1), text.substr(1));
}

std::optional<int> number_of(std::string_view text) {
  int value = 0;
  const auto* end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, value);
  return error == std::errc() && at == end && !text.empty()
             ? std::optional(value)
             : std::nullopt;
}

bool layer_matches(std::string_view pattern, int layer, int layers) {
  if (pattern == "ends") {
    const int eighth = layers / 8;
    return layer < eighth || layer >= layers - eighth;
  }
  const auto dash = pattern.find('-');
  if (dash != pattern.npos) {
    const auto first = number_of(pattern.substr(0, dash));
    const auto last = number_of(pattern.substr(dash + 1));
    return first && last && layer >= *first && layer <= *last;
  }
  return glob(pattern, std::to_string(layer));
}

bool parts_match(
    std::span<const std::string_view> pattern,
    std::span<const std::string_view> name,
    int layers) {
  if (pattern.size() != name.size()) {
    return false;
  }
  for (std::size_t i = 0; i < name.size(); ++i) {
    const auto layer =
        i == 1 && name[0] == "layers" ? number_of(name[i]) : std::nullopt;
    const bool fits = layer ? layer_matches(pattern[i], *layer, layers)
                            : glob(pattern[i], name[i]);
    if (!fits) {
      return false;
    }
  }
  return true;
}

}  // namespace

bool matches(std::string_view pattern, std::string_view name, int layers) {
  const auto wanted = split(pattern);
  auto parts = split(name);
  if (parts_match(wanted, parts, layers)) {
    return true;
  }
  // layers.3.feed_forward.down is also layers.3.down.
  if (parts.size() > 3 && parts[0] == "layers") {
    parts.erase(parts.begin() + 2);
    return parts_match(wanted, parts, layers);
  }
  return false;
}

FormatRule parse_rule(std::string_view text, int group_size) {
  const auto equals = text.find('=');
  if (equals == text.npos || equals == 0) {
    fail<UserError>(
        fmt::format("--rule \"{}\" is no rule", text),
        "A rule is PATTERN=FORMAT",
        "Write for example 'layers.*.down=6' or embed=8/32");
  }
  return {
      std::string(text.substr(0, equals)),
      parse_format(text.substr(equals + 1), group_size, "--rule")};
}

MatrixFormat format_for(
    std::string_view name,
    int layers,
    std::span<const FormatRule> rules,
    const MatrixFormat& fallback) {
  for (auto rule = rules.rbegin(); rule != rules.rend(); ++rule) {
    if (matches(rule->pattern, name, layers)) {
      return rule->format;
    }
  }
  return fallback;
}

std::span<const Recipe> recipes() {
  // What reads much (down, v) and what the logits hang on (embed, head, the
  // ends) gets more bits than the rest.
  static const std::vector<Recipe> kRecipes = {
      {"mixed-3-6",
       "3 bits; 6 for v and down at the ends, for embeddings and head",
       "3",
       {"layers.ends.v=6", "layers.ends.down=6", "embed=6", "head=6"}},
      {"mixed-4-6",
       "4 bits; 6 for v and down at the ends, for embeddings and head",
       "4",
       {"layers.ends.v=6", "layers.ends.down=6", "embed=6", "head=6"}},
      {"mixed-4-8",
       "4 bits; 8 for v and down, for embeddings and head",
       "4",
       {"layers.*.v=8", "layers.*.down=8", "embed=8", "head=8"}},
      {"small-floats",
       "mxfp4; mxfp8 for embeddings and head",
       "mxfp4",
       {"embed=mxfp8", "head=mxfp8"}}};
  return kRecipes;
}

const Recipe& recipe(std::string_view name) {
  std::vector<std::string> names;
  for (const Recipe& each : recipes()) {
    if (each.name == name) {
      return each;
    }
    names.emplace_back(each.name);
  }
  fail<UserError>(
      fmt::format("There is no recipe {}", name),
      did_you_mean(std::string(name), names),
      fmt::format("Choose one of {}", fmt::join(names, ", ")));
}

}  // namespace roofline
