// Where Roofline keeps things on this machine: caches and models. Follows the
// XDG base directories; ROOFLINE_CACHE and ROOFLINE_MODELS override.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace roofline {

/// The variable's value; nullopt when it is unset or empty.
std::optional<std::string> environment(const char* name);

/// The user's home folder: $HOME, else what the user database says.
std::filesystem::path home_dir();

/// $ROOFLINE_CACHE, else $XDG_CACHE_HOME/roofline, else ~/.cache/roofline.
/// Created with mode 0700 when missing; when that fails the path is returned
/// all the same, and writing there will say why.
std::filesystem::path cache_dir();

/// The registry of models that short names refer to: $ROOFLINE_MODELS, else
/// $XDG_DATA_HOME/roofline/models, else ~/.local/share/roofline/models.
/// Not created.
std::filesystem::path models_dir();

/// The running program's own file; empty when the system won't tell.
std::filesystem::path executable_path();

/// Creates a folder and its parents with mode 0700 where missing. False when
/// it isn't a folder afterwards.
bool ensure_private_dir(const std::filesystem::path& folder);

/// A file, or a link to one; false where the system won't tell.
bool is_file(const std::filesystem::path& path);

}  // namespace roofline
