#include "roofline/spec/tensor_parts.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "roofline/base/errors.h"
#include "roofline/base/nearest.h"
#include "roofline/base/option_values.h"

namespace roofline {

namespace {

constexpr std::string_view kLayers = "layers.";
/// The share of the layers at each end that `ends` means is one of so many.
constexpr int kEndShare = 8;
/// A layer's matrices, by the last word of their names.
constexpr std::array<std::string_view, 7> kLayerKinds =
    {"q", "k", "v", "o", "gate", "up", "down"};

/// Of "layers.3.attention.o"; absent for what isn't a layer's.
std::optional<int> layer_of(std::string_view name) {
  if (!name.starts_with(kLayers)) {
    return std::nullopt;
  }
  name.remove_prefix(kLayers.size());
  int layer = 0;
  std::from_chars(name.data(), name.data() + name.size(), layer);
  return layer;
}

bool at_an_end(int layer, int layers) {
  const int end = std::max(1, layers / kEndShare);
  return layer < end || layer >= layers - end;
}

/// "5", "0-3", "0-3.down".
struct LayerRange {
  int first = 0;
  int last = 0;
  std::string_view kind;  ///< empty: every matrix
};

std::optional<LayerRange> parse_range(std::string_view text) {
  LayerRange range;
  const char* end = text.data() + text.size();
  auto at = std::from_chars(text.data(), end, range.first);
  if (at.ec != std::errc() || range.first < 0) {
    return std::nullopt;
  }
  range.last = range.first;
  if (at.ptr != end && *at.ptr == '-') {
    at = std::from_chars(at.ptr + 1, end, range.last);
  }
  if (at.ec != std::errc() || range.last < range.first) {
    return std::nullopt;
  }
  if (at.ptr == end) {
    return range;
  }
  range.kind = {at.ptr + 1, static_cast<std::size_t>(end - at.ptr - 1)};
  const bool known =
      *at.ptr == '.' &&
      std::find(kLayerKinds.begin(), kLayerKinds.end(), range.kind) !=
          kLayerKinds.end();
  return known ? std::optional(range) : std::nullopt;
}

bool belongs(std::string_view name, int layers, const std::string& part) {
  if (part == "embed") {
    return name == "embed" || name == "head";
  }
  const auto layer = layer_of(name);
  if (!layer) {
    return false;
  }
  if (part == "ends") {
    return at_an_end(*layer, layers);
  }
  const std::string_view kind = name.substr(name.rfind('.') + 1);
  if (const auto range = parse_range(part)) {
    return *layer >= range->first && *layer <= range->last &&
           (range->kind.empty() || range->kind == kind);
  }
  return kind == part;
}

}  // namespace

std::vector<std::string> matrix_part_names() {
  std::vector<std::string> names = {"embed"};
  names.insert(names.end(), kLayerKinds.begin(), kLayerKinds.end());
  names.emplace_back("ends");
  return names;
}

std::vector<std::string> parse_matrix_parts(
    std::string_view text,
    std::string_view option) {
  const auto known = matrix_part_names();
  std::vector<std::string> parts = split_list(text, option);
  for (const std::string& part : parts) {
    if (std::find(known.begin(), known.end(), part) == known.end() &&
        !parse_range(part)) {
      fail<UserError>(
          fmt::format("{}: there is no part \"{}\"", option, part),
          did_you_mean(part, known),
          fmt::format(
              "There are {}, layers (5, 0-3) and one kind in them (0-3.down)",
              fmt::join(known, ", ")));
    }
  }
  return parts;
}

bool belongs_to_parts(
    std::string_view name,
    int layers,
    std::span<const std::string> parts) {
  return std::any_of(parts.begin(), parts.end(), [&](const std::string& part) {
    return belongs(name, layers, part);
  });
}

void check_matrix_parts(std::span<const std::string> parts, int layers) {
  for (const std::string& part : parts) {
    const auto range = parse_range(part);
    if (range && range->last >= layers) {
      fail<UserError>(
          fmt::format("There is no layer {}", range->last),
          fmt::format("The model has {}, counted from 0", layers),
          fmt::format("Name layers up to {}", layers - 1));
    }
  }
}

}  // namespace roofline
