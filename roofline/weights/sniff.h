// Says what a file that isn't what its name promises looks like.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace roofline {

/// A phrase such as "a zip archive (PyTorch's format)" or "a Git LFS pointer,
/// not the file itself"; "" when nothing is recognised. Reads only the start.
std::string describe_content(std::span<const std::byte> bytes);

}  // namespace roofline
