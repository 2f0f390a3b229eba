// The endings of names in foreign layouts that both the reader of configs and
// the readers of matrices go by.
#pragma once

#include <string>
#include <string_view>

namespace roofline::foreign_names {

constexpr std::string_view kWeight = ".weight";
/// gpt-oss: codes and scales of a stack of experts.
constexpr std::string_view kBlocks = "_blocks";
constexpr std::string_view kScales = "_scales";

/// "a.b.qweight" → "a.b"
inline std::string module_of(std::string_view name) {
  return std::string(name.substr(0, name.rfind('.')));
}

}  // namespace roofline::foreign_names
