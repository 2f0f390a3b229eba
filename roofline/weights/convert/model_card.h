// The README.md of a converted model: what it was made from, and what the
// source's own card says about licence and language.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace roofline {

/// source: the folder whose README.md may have a YAML header. base_model: its
/// name on a hub, or empty. library: "mlx", …
std::string model_card(
    const std::filesystem::path& source,
    std::string_view base_model,
    std::string_view library);

}  // namespace roofline
