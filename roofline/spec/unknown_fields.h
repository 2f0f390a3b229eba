// Refuses fields of a config that nobody has read: one that may change what
// the model computes must not be ignored.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "roofline/spec/fields.h"

namespace roofline {

/// Fields that were never read and aren't known to be harmless or neutral.
std::vector<std::string> unknown_fields(const Fields& fields);

/// Throws UnsupportedError for the first of them. owner: "family llama", for
/// the message.
void refuse_unknown_fields(const Fields& fields, std::string_view owner);

}  // namespace roofline
