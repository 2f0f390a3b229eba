// Which layers of a config.json see a window of tokens only, and how long it
// is.
#pragma once

#include <optional>
#include <vector>

#include "roofline/spec/families.h"
#include "roofline/spec/fields.h"

namespace roofline {

struct Windows {
  bool any = false;  ///< the model has a window, if only in no layer
  std::vector<std::optional<int>> layers;
};

/// The window of each layer. roped: which layers have positions, as far as a
/// rule for them is known before the windows.
Windows read_windows(
    Fields& config,
    const Family& family,
    const std::vector<bool>& roped);

}  // namespace roofline
