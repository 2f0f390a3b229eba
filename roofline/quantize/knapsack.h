// Which format each matrix gets so that together they fit a budget and lose
// least: the multiple-choice knapsack, by dynamic programming.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace roofline {

struct KnapsackOption {
  std::int64_t size = 0;
  double loss = 0;
};

/// One option of each item, chosen so that the sizes sum to at most `budget`
/// and the losses to the least possible. Exact where the sizes' greatest common
/// divisor goes into the budget 2^17 times or less; above that sizes are
/// rounded up to a 2^17th of it. Takes items · options · budget / unit steps.
/// Throws UserError when even the smallest options are too large.
std::vector<std::size_t> solve_knapsack(
    std::span<const std::vector<KnapsackOption>> items,
    std::int64_t budget);

}  // namespace roofline
