// Near-miss suggestions for names that aren't known.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace roofline {

/// The candidates nearest to `name` by edit distance, best first, at most
/// `most`; ones that share nothing with it are left out.
std::vector<std::string> nearest_names(
    std::string_view name,
    std::span<const std::string> candidates,
    int most = 3);

/// "Did you mean a, b or c?" of names that are near; "" of none.
std::string did_you_mean_these(std::span<const std::string> near);

/// "Did you mean a, b or c?", or "" when nothing is near.
std::string did_you_mean(
    std::string_view name,
    std::span<const std::string> candidates);

}  // namespace roofline
