#include "roofline/spec/tensor_parts.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "roofline/base/errors.h"
#include "roofline/base/nearest.h"

namespace roofline {

namespace {

constexpr std::string_view kLayers = "layers.";
/// The share of the layers at each end that `ends` means is one of so many.
constexpr int kEndShare = 8;

bool at_an_end(std::string_view name, int layers) {
  if (!name.starts_with(kLayers)) {
    return false;
  }
  name.remove_prefix(kLayers.size());
  int layer = 0;
  std::from_chars(name.data(), name.data() + name.size(), layer);
  const int end = std::max(1, layers / kEndShare);
  return layer < end || layer >= layers - end;
}

}  // namespace

std::vector<std::string> matrix_part_names() {
  return {"embed", "q", "k", "v", "o", "gate", "up", "down", "ends"};
}

std::vector<std::string> parse_matrix_parts(
    std::string_view text,
    std::string_view option) {
  const auto known = matrix_part_names();
  std::vector<std::string> parts;
  while (!text.empty()) {
    const std::size_t comma = text.find(',');
    const std::string part(text.substr(0, comma));
    text.remove_prefix(
        comma == std::string_view::npos ? text.size() : comma + 1);
    if (std::find(known.begin(), known.end(), part) == known.end()) {
      fail<UserError>(
          fmt::format("{}: there is no part \"{}\"", option, part),
          did_you_mean(part, known),
          fmt::format("There are {}", fmt::join(known, ", ")));
    }
    parts.push_back(part);
  }
  return parts;
}

bool belongs_to_parts(
    std::string_view name,
    int layers,
    std::span<const std::string> parts) {
  return std::any_of(parts.begin(), parts.end(), [&](const std::string& part) {
    if (part == "embed") {
      return name == "embed" || name == "head";
    }
    if (part == "ends") {
      return at_an_end(name, layers);
    }
    return name.starts_with(kLayers) &&
           name.substr(name.rfind('.') + 1) == part;
  });
}

}  // namespace roofline
