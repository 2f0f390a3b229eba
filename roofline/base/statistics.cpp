#include "roofline/base/statistics.h"

#include <algorithm>
#include <cmath>
#include <random>

namespace roofline {

namespace {

constexpr int kResamples = 4000;
constexpr double kTail = 0.025;

std::vector<double> drawn_again(
    std::span<const double> samples,
    std::mt19937& random) {
  std::vector<double> out(samples.size());
  for (double& value : out) {
    // Not a distribution of the library's: those differ between libraries.
    value = samples[random() % samples.size()];
  }
  return out;
}

}  // namespace

double quantile_of(std::span<const double> samples, double share) {
  if (samples.empty()) {
    return 0;
  }
  std::vector<double> sorted(samples.begin(), samples.end());
  std::sort(sorted.begin(), sorted.end());
  const double at = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  const double part = at - static_cast<double>(below);
  return sorted[below] * (1 - part) + sorted[above] * part;
}

double median_of(std::span<const double> samples) {
  constexpr double kMiddle = 0.5;
  return quantile_of(samples, kMiddle);
}

double relative_spread(std::span<const double> samples) {
  const double middle = median_of(samples);
  if (middle == 0) {
    return 0;
  }
  std::vector<double> distances;
  for (const double value : samples) {
    distances.push_back(std::abs(value - middle));
  }
  return median_of(distances) / std::abs(middle);
}

RatioInterval ratio_of_medians(
    std::span<const double> before,
    std::span<const double> after) {
  if (median_of(before) == 0 || after.empty()) {
    return {};
  }
  std::mt19937 random(1);  // NOLINT: the same way in every call
  std::vector<double> ratios;
  for (int i = 0; i < kResamples; ++i) {
    const double base = median_of(drawn_again(before, random));
    if (base != 0) {
      ratios.push_back(median_of(drawn_again(after, random)) / base);
    }
  }
  return {
      median_of(after) / median_of(before),
      quantile_of(ratios, kTail),
      quantile_of(ratios, 1 - kTail)};
}

}  // namespace roofline
