// What a list of measurements says: median, spread, tail, and how sure a ratio
// of two medians is.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace roofline {

/// 0 without samples.
double median_of(std::span<const double> samples);
/// The value that `share` of the samples don't exceed, between neighbours
/// interpolated; 0 without samples.
double quantile_of(std::span<const double> samples, double share);
/// Median distance from the median, as a share of it: 0.05 says that half of
/// the samples lie within 5 %. 0 without samples.
double relative_spread(std::span<const double> samples);

struct RatioInterval {
  double ratio = 0;  ///< median of `after` over median of `before`
  double low = 0;
  double high = 0;
};

/// The ratio of medians with its 95 % interval by the bootstrap: both lists are
/// drawn again with replacement (Efron 1979, percentile method), the same way
/// in every call. All 0 when a list is empty or its median is 0.
RatioInterval ratio_of_medians(
    std::span<const double> before,
    std::span<const double> after);

}  // namespace roofline
