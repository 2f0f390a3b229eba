// Axes of a chart: where the ticks stand, what they say, and where a value
// lies on the picture.
#pragma once

#include <span>
#include <string>
#include <vector>

namespace roofline {

struct Tick {
  double value = 0;
  std::string label;
};

/// Maps [low, high] onto [from, to] pixels, linearly or by logarithm.
struct Scale {
  double low = 0;
  double high = 1;
  double from = 0;
  double to = 1;
  bool log = false;

  double at(double value) const;
};

/// About `wanted` round values (1, 2, 5 times a power of ten) that cover
/// [low, high]: the first is <= low, the last >= high.
std::vector<double> nice_values(double low, double high, int wanted);
/// The same within [low, high], 0 < low: powers of two where all of `points`
/// are whole multiples of one, else 1, 2, 5 times powers of ten.
std::vector<double> log_values(
    double low,
    double high,
    std::span<const double> points,
    int wanted);
/// Ticks with the decimals that tell them apart; 8192 reads 8K where
/// `powers_of_two`.
std::vector<Tick> label_values(
    std::span<const double> values,
    bool powers_of_two = false);
bool all_powers_of_two(std::span<const double> values);
/// A value in a few digits, with commas between thousands.
std::string short_number(double value);

}  // namespace roofline
