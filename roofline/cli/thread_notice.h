// What a user is told who asks for more threads than there are cores.
#pragma once

#include <optional>
#include <string>

#include "roofline/model/decoder.h"

namespace roofline::cli {

/// A line that says that `threads` are more than this process's cores, and slow
/// for that; empty where they aren't, or where a GPU computes. Call it where
/// the device is known to be there.
std::string thread_notice(std::optional<int> threads, DeviceChoice device);

}  // namespace roofline::cli
