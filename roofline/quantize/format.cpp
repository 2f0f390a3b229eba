#include "roofline/quantize/format.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include <fmt/format.h>

#include "roofline/base/errors.h"

namespace roofline {

namespace {

constexpr std::array<int, 6> kBits = {2, 3, 4, 5, 6, 8};
constexpr std::array<int, 3> kGroups = {32, 64, 128};

std::optional<int> number_of(std::string_view text) {
  int value = 0;
  const auto* end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, value);
  return error == std::errc() && at == end ? std::optional(value)
                                           : std::nullopt;
}

/// Bits that a group has beside its codes.
int group_bits(QuantMode mode) {
  return mode == QuantMode::affine ? 32 : 8;
}

}  // namespace

std::string_view mode_name(QuantMode mode) {
  static constexpr std::array<std::string_view, 5> kNames =
      {"keep", "affine", "mxfp4", "nvfp4", "mxfp8"};
  return kNames[static_cast<std::size_t>(mode)];
}

double MatrixFormat::bits_per_weight() const {
  return mode == QuantMode::keep
             ? 16.0
             : bits + static_cast<double>(group_bits(mode)) / group_size;
}

std::int64_t MatrixFormat::bytes(std::int64_t rows, std::int64_t cols) const {
  if (mode == QuantMode::keep) {
    return rows * cols * 2;
  }
  return rows * (cols * bits + cols / group_size * group_bits(mode)) / 8;
}

bool MatrixFormat::fits(std::int64_t cols) const {
  return mode == QuantMode::keep || cols % group_size == 0;
}

std::string MatrixFormat::text() const {
  switch (mode) {
    case QuantMode::keep:
      return "16-bit floats";
    case QuantMode::affine:
      return fmt::format("{} bits/{}", bits, group_size);
    default:
      return std::string(mode_name(mode));
  }
}

MatrixFormat small_float_format(QuantMode mode) {
  return {
      mode,
      mode == QuantMode::mxfp8 ? 8 : 4,
      mode == QuantMode::nvfp4 ? 16 : 32};
}

void require_affine_format(int bits, int group_size) {
  if (std::find(kBits.begin(), kBits.end(), bits) == kBits.end()) {
    fail<UserError>(
        fmt::format("There are no codes of {} bits", bits),
        "Affine codes have 2, 3, 4, 5, 6 or 8 bits",
        "Choose one of these");
  }
  if (std::find(kGroups.begin(), kGroups.end(), group_size) == kGroups.end()) {
    fail<UserError>(
        fmt::format("There are no groups of {}", group_size),
        "Weights share a scale and a bias in groups of 32, 64 or 128",
        "Choose one of these");
  }
}

MatrixFormat parse_format(
    std::string_view text,
    int group_size,
    std::string_view option) {
  for (const auto mode :
       {QuantMode::mxfp4, QuantMode::nvfp4, QuantMode::mxfp8}) {
    if (text == mode_name(mode)) {
      return small_float_format(mode);
    }
  }
  if (text == "keep" || text == "16") {
    return {QuantMode::keep, 16, 1};
  }
  const auto slash = text.find('/');
  const auto bits = number_of(text.substr(0, slash));
  const auto group = slash == text.npos ? std::optional(group_size)
                                        : number_of(text.substr(slash + 1));
  if (!bits || !group) {
    fail<UserError>(
        fmt::format("{}: \"{}\" is no format", option, text),
        "A format is a number of bits, bits/group, mxfp4, nvfp4, mxfp8 or keep",
        "Write for example 6, 4/32 or keep");
  }
  require_affine_format(*bits, *group);
  return {QuantMode::affine, *bits, *group};
}

}  // namespace roofline
