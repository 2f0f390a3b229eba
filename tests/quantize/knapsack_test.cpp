#include "roofline/quantize/knapsack.h"

#include <random>

#include <gtest/gtest.h>

#include "roofline/base/errors.h"

namespace roofline {
namespace {

using Items = std::vector<std::vector<KnapsackOption>>;

double best_by_trying_all(
    const Items& items,
    std::int64_t budget,
    std::size_t from = 0) {
  if (from == items.size()) {
    return budget >= 0 ? 0.0 : 1e30;
  }
  double best = 1e30;
  for (const auto& option : items[from]) {
    best = std::min(
        best,
        option.loss +
            best_by_trying_all(items, budget - option.size, from + 1));
  }
  return best;
}

TEST(Knapsack, FindsWhatTryingAllFinds) {
  std::mt19937 random(3);
  for (int round = 0; round < 200; ++round) {
    Items items(1 + random() % 5);
    std::int64_t least = 0;
    for (auto& options : items) {
      options.resize(1 + random() % 4);
      std::int64_t smallest = 1000;
      for (auto& option : options) {
        option.size = 1 + static_cast<std::int64_t>(random() % 20);
        option.loss = static_cast<double>(random() % 1000);
        smallest = std::min(smallest, option.size);
      }
      least += smallest;
    }
    const std::int64_t budget =
        least + static_cast<std::int64_t>(random() % 30);
    const auto chosen = solve_knapsack(items, budget);
    double loss = 0;
    std::int64_t size = 0;
    for (std::size_t i = 0; i < items.size(); ++i) {
      loss += items[i][chosen[i]].loss;
      size += items[i][chosen[i]].size;
    }
    EXPECT_LE(size, budget);
    EXPECT_EQ(loss, best_by_trying_all(items, budget));
  }
}

TEST(Knapsack, StaysInALargeBudget) {
  Items items(50);
  std::mt19937_64 random(4);
  std::int64_t least = 0;
  for (auto& options : items) {
    const auto size = static_cast<std::int64_t>(random() % 100000007);
    options = {{size, 9.0}, {2 * size + 1, 4.0}, {3 * size + 5, 1.0}};
    least += size;
  }
  const std::int64_t budget = 2 * least;
  std::int64_t size = 0;
  const auto chosen = solve_knapsack(items, budget);
  for (std::size_t i = 0; i < items.size(); ++i) {
    size += items[i][chosen[i]].size;
  }
  EXPECT_LE(size, budget);
  EXPECT_GT(size, budget - budget / 50);
}

TEST(Knapsack, RefusesABudgetThatIsTooSmall) {
  EXPECT_THROW(solve_knapsack(Items{{{10, 1.0}}}, 9), UserError);
}

}  // namespace
}  // namespace roofline
