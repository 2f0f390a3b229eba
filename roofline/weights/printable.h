// Names from files, made fit for a message: hostile ones are cut and escaped.
#pragma once

#include <string>
#include <string_view>

namespace roofline {

/// Control characters become \xNN, and more than 120 bytes are cut ("…").
/// Bytes that aren't UTF-8 are escaped, so that the text is always valid.
std::string printable(std::string_view text);

}  // namespace roofline
