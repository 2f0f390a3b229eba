// Slow and plain versions of the samplers, written from their definitions: sort
// everything, use double throughout. Tests compare the fast ones with them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <set>
#include <span>
#include <vector>

namespace roofline::reference {

using Tokens = std::set<std::int32_t>;

inline std::vector<float> random_logits(int vocab, int seed, float spread) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, spread);
  std::vector<float> logits(vocab);
  for (float& logit : logits) {
    logit = normal(random);
  }
  return logits;
}

/// Softmax over `tokens` of logits / temperature.
inline std::vector<double> probabilities(
    std::span<const float> logits,
    const std::vector<std::int32_t>& tokens,
    double temperature = 1.0) {
  double max = -INFINITY;
  for (const auto token : tokens) {
    max = std::max<double>(max, logits[token]);
  }
  std::vector<double> out;
  double total = 0;
  for (const auto token : tokens) {
    out.push_back(std::exp((logits[token] - max) / temperature));
    total += out.back();
  }
  for (double& p : out) {
    p /= total;
  }
  return out;
}

/// All token ids, likeliest first; equal ones by id.
inline std::vector<std::int32_t> ranked(std::span<const float> logits) {
  std::vector<std::int32_t> order(logits.size());
  for (std::size_t i = 0; i < order.size(); ++i) {
    order[i] = static_cast<std::int32_t>(i);
  }
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) {
    return logits[a] > logits[b];
  });
  return order;
}

inline Tokens top_k(std::span<const float> logits, int k) {
  const auto order = ranked(logits);
  return {order.begin(), order.begin() + std::min<int>(k, order.size())};
}

inline Tokens top_p(std::span<const float> logits, double p) {
  const auto order = ranked(logits);
  const auto share = probabilities(logits, order);
  Tokens kept;
  double sum = 0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    kept.insert(order[i]);
    sum += share[i];
    if (sum >= p) {
      break;
    }
  }
  return kept;
}

inline Tokens min_p(std::span<const float> logits, double p) {
  const auto order = ranked(logits);
  const auto share = probabilities(logits, order);
  Tokens kept;
  for (std::size_t i = 0; i < order.size(); ++i) {
    if (share[i] >= p * share[0]) {
      kept.insert(order[i]);
    }
  }
  return kept;
}

inline Tokens typical(std::span<const float> logits, double p) {
  const auto order = ranked(logits);
  const auto share = probabilities(logits, order);
  double entropy = 0;
  for (const double q : share) {
    entropy -= q > 0 ? q * std::log(q) : 0;
  }
  std::vector<std::size_t> index(order.size());
  for (std::size_t i = 0; i < index.size(); ++i) {
    index[i] = i;
  }
  std::stable_sort(index.begin(), index.end(), [&](auto a, auto b) {
    return std::abs(-std::log(share[a]) - entropy) <
           std::abs(-std::log(share[b]) - entropy);
  });
  Tokens kept;
  double sum = 0;
  for (const auto i : index) {
    kept.insert(order[i]);
    sum += share[i];
    if (sum >= p) {
      break;
    }
  }
  return kept;
}

/// Every pair (earlier place, end) compared token by token.
inline std::vector<std::pair<std::int32_t, int>> repeated_runs(
    const std::vector<std::int32_t>& history,
    const Tokens& breakers,
    int allowed_length) {
  std::vector<std::pair<std::int32_t, int>> longest;
  const int n = static_cast<int>(history.size());
  for (int next = 1; next < n; ++next) {
    int length = 0;
    while (next - 1 - length >= 0 &&
           history[next - 1 - length] == history[n - 1 - length] &&
           breakers.count(history[n - 1 - length]) == 0) {
      ++length;
    }
    if (length < allowed_length || breakers.count(history[next]) > 0) {
      continue;
    }
    auto it = std::find_if(longest.begin(), longest.end(), [&](auto& run) {
      return run.first == history[next];
    });
    if (it == longest.end()) {
      longest.push_back({history[next], length});
    } else {
      it->second = std::max(it->second, length);
    }
  }
  std::sort(longest.begin(), longest.end());
  return longest;
}

}  // namespace roofline::reference
