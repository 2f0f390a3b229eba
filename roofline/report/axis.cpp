#include "roofline/report/axis.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string_view>

namespace roofline {
namespace {

/// The round step next above `raw`: 1, 2 or 5 times a power of ten.
double nice_step(double raw) {
  const double power = std::pow(10.0, std::floor(std::log10(raw)));
  for (double factor : {1.0, 2.0, 5.0}) {
    if (raw <= factor * power * (1 + 1e-9)) {
      return factor * power;
    }
  }
  return 10 * power;
}

std::string with_commas(std::string_view digits) {
  const std::size_t start = digits.starts_with('-') ? 1 : 0;
  const std::size_t point = std::min(digits.find('.'), digits.size());
  std::string out;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    if (i > start && i < point && (point - i) % 3 == 0) {
      out += ',';
    }
    out += digits[i];
  }
  return out;
}

std::string binary_label(double value) {
  constexpr double kKilo = 1024;
  if (value >= kKilo * kKilo) {
    return fmt::format("{:g}M", value / (kKilo * kKilo));
  }
  return value >= kKilo ? fmt::format("{:g}K", value / kKilo)
                        : fmt::format("{:g}", value);
}

/// Every n-th value, so that at most `wanted` are left.
std::vector<double> thin(const std::vector<double>& values, int wanted) {
  const std::size_t most = std::max(wanted, 2);
  const std::size_t step = (values.size() + most - 1) / most;
  std::vector<double> out;
  for (std::size_t i = 0; i < values.size();
       i += std::max<std::size_t>(step, 1)) {
    out.push_back(values[i]);
  }
  return out;
}

}  // namespace

double Scale::at(double value) const {
  const double a = log ? std::log(low) : low;
  const double b = log ? std::log(high) : high;
  const double v = log ? std::log(std::max(value, low * 1e-3)) : value;
  return b > a ? from + (to - from) * (v - a) / (b - a) : (from + to) / 2;
}

std::vector<double> nice_values(double low, double high, int wanted) {
  if (!(high > low)) {
    const double margin = low == 0 ? 1 : std::abs(low) / 2;
    high = low + margin;
    low -= margin;
  }
  const double step = nice_step((high - low) / std::max(wanted, 1));
  const double first = std::floor(low / step + 1e-9);
  const double last = std::ceil(high / step - 1e-9);
  std::vector<double> values;
  for (double i = first; i <= last + 0.5; ++i) {
    values.push_back(i * step);
  }
  return values;
}

bool all_powers_of_two(std::span<const double> values) {
  return !values.empty() &&
         std::all_of(values.begin(), values.end(), [](double value) {
           int exponent = 0;
           return value >= 1 && std::frexp(value, &exponent) == 0.5;
         });
}

std::vector<double> log_values(
    double low,
    double high,
    std::span<const double> points,
    int wanted) {
  std::vector<double> values;
  if (all_powers_of_two(points)) {
    for (double v = std::exp2(std::ceil(std::log2(low) - 1e-9));
         v <= high * (1 + 1e-9);
         v *= 2) {
      values.push_back(v);
    }
    return thin(values, wanted);
  }
  std::vector<double> tens;
  for (double ten = std::pow(10.0, std::floor(std::log10(low)));
       ten <= high * (1 + 1e-9);
       ten *= 10) {
    for (double factor : {1.0, 2.0, 5.0}) {
      const double v = factor * ten;
      if (v >= low * (1 - 1e-9) && v <= high * (1 + 1e-9)) {
        values.push_back(v);
        if (factor == 1) {
          tens.push_back(v);
        }
      }
    }
  }
  const bool dense = static_cast<int>(values.size()) > wanted;
  return dense && tens.size() > 1 ? thin(tens, wanted) : thin(values, wanted);
}

std::vector<Tick> label_values(
    std::span<const double> values,
    bool powers_of_two) {
  std::vector<Tick> ticks;
  double smallest = 0;
  for (std::size_t i = 1; i < values.size(); ++i) {
    const double step = std::abs(values[i] - values[i - 1]);
    smallest = smallest == 0 ? step : std::min(smallest, step);
  }
  int decimals = 0;
  if (smallest > 0) {
    const double digits = -std::floor(std::log10(smallest) + 1e-9);
    decimals = static_cast<int>(std::clamp(digits, 0.0, 9.0));
  }
  for (double value : values) {
    const double shown = std::abs(value) < smallest * 1e-9 ? 0 : value;
    const bool far = std::abs(value) >= 1e9 || smallest >= 1e9;
    ticks.push_back(
        {value,
         powers_of_two ? binary_label(value)
         : far         ? fmt::format("{:g}", value)
                       : with_commas(fmt::format("{:.{}f}", shown, decimals))});
  }
  return ticks;
}

std::string short_number(double value) {
  const double size = std::abs(value);
  if (size >= 1e12 || (size > 0 && size < 1e-4)) {
    return fmt::format("{:.3g}", value);
  }
  if (size >= 1000) {
    return with_commas(fmt::format("{:.0f}", value));
  }
  return fmt::format("{:.4g}", value);
}

}  // namespace roofline
