// roofline bench compare: two reports, told apart.
#pragma once

#include <filesystem>

namespace roofline::cli {

/// Prints what changed. 0, or 1 when a figure is slower. Throws UserError for
/// files that aren't reports, or have no case in common.
int compare_reports(
    const std::filesystem::path& before,
    const std::filesystem::path& after,
    double tolerance,
    bool json);

}  // namespace roofline::cli
