#include "roofline/quantize/knapsack.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include <fmt/format.h>

#include "roofline/base/errors.h"

namespace roofline {

namespace {

constexpr std::int64_t kMostUnits = 1 << 17;
constexpr double kNever = std::numeric_limits<double>::infinity();

std::int64_t smallest(const std::vector<KnapsackOption>& options) {
  std::int64_t size = std::numeric_limits<std::int64_t>::max();
  for (const auto& option : options) {
    size = std::min(size, option.size);
  }
  return size;
}

std::int64_t unit_of(
    std::span<const std::vector<KnapsackOption>> items,
    std::int64_t room) {
  std::int64_t divisor = 0;
  for (const auto& options : items) {
    const auto least = smallest(options);
    for (const auto& option : options) {
      divisor = std::gcd(divisor, option.size - least);
    }
  }
  return std::max({divisor, room / kMostUnits, std::int64_t{1}});
}

}  // namespace

std::vector<std::size_t> solve_knapsack(
    std::span<const std::vector<KnapsackOption>> items,
    std::int64_t budget) {
  std::int64_t least = 0;
  for (const auto& options : items) {
    least += smallest(options);
  }
  if (least > budget) {
    fail<UserError>(
        "The matrices don't fit",
        fmt::format(
            "With the smallest formats they take {} bytes, {} are allowed",
            least,
            budget),
        "Raise --target-bpw, or allow fewer bits");
  }
  // Only what an option takes above its item's smallest counts.
  const std::int64_t unit = unit_of(items, budget - least);
  const auto units = static_cast<std::size_t>((budget - least) / unit);
  const auto cost = [&](const auto& options, std::size_t choice) {
    const auto above = options[choice].size - smallest(options);
    return static_cast<std::size_t>((above + unit - 1) / unit);
  };
  // best[u]: the least loss of the items so far within u units.
  std::vector<double> best(units + 1, 0.0);
  std::vector<std::vector<std::uint8_t>> chosen;
  for (const auto& options : items) {
    std::vector<double> next(units + 1, kNever);
    std::vector<std::uint8_t> choices(units + 1, 0);
    for (std::size_t choice = 0; choice < options.size(); ++choice) {
      const std::size_t takes = cost(options, choice);
      for (std::size_t u = takes; u <= units; ++u) {
        const double loss = best[u - takes] + options[choice].loss;
        if (loss < next[u]) {
          next[u] = loss;
          choices[u] = static_cast<std::uint8_t>(choice);
        }
      }
    }
    best = std::move(next);
    chosen.push_back(std::move(choices));
  }
  std::vector<std::size_t> result(items.size());
  std::size_t left = units;
  for (std::size_t i = items.size(); i-- > 0;) {
    result[i] = chosen[i][left];
    left -= cost(items[i], result[i]);
  }
  return result;
}

}  // namespace roofline
