// The libmlx that is loaded must be the version the program was built with: its
// C++ interface changes between versions, and then anything could happen.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace roofline::cli {

/// "0.32.4": the headers this program was compiled against.
std::string compiled_mlx_version();
/// What the loaded library calls itself.
std::string loaded_mlx_version();

/// The file that it lies in; empty when the system won't tell.
std::filesystem::path loaded_mlx_path();

/// Throws UnsupportedError when the two name different releases. A suffix such
/// as ".dev20260101+abc" doesn't count.
void require_same_mlx(std::string_view compiled, std::string_view loaded);
void require_same_mlx();

/// "cpu", "cuda" or "metal": what the loaded library can compute on.
std::string mlx_backend();

}  // namespace roofline::cli
