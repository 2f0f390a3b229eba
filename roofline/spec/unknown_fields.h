// Refuses fields of a config that nobody has read: one that may change what
// the model computes must not be ignored.
#pragma once

#include <string_view>

#include "roofline/spec/fields.h"

namespace roofline {

/// Throws UnsupportedError for the first field that was never read and isn't
/// known to be harmless or neutral. owner: "family llama", for the message.
void refuse_unknown_fields(const Fields& fields, std::string_view owner);

}  // namespace roofline
