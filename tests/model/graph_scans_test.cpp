#include "roofline/model/graph_scans.h"

#include <cmath>
#include <random>
#include <vector>

#include <gtest/gtest.h>
#include <mlx/ops.h>

#include "kernels/isas.h"
#include "model/golden.h"

// The scans, by kernel and by ops, against the recurrences as they are written
// down, in double.

namespace roofline {
namespace {

using Values = std::vector<float>;

class Random {
 public:
  Values normal(std::size_t count, float mean, float deviation) {
    std::normal_distribution<float> draw(mean, deviation);
    Values out(count);
    for (float& value : out) {
      value = draw(engine_);
    }
    return out;
  }

 private:
  std::mt19937 engine_{7};
};

mx::array shaped(const Values& values, const mx::Shape& shape) {
  return mx::array(values.data(), shape);
}

struct Sizes {
  int tokens, heads, groups, head_dim, state_dim;
};

const std::vector<Sizes>& sizes() {
  static const std::vector<Sizes> all = {
      {1, 2, 1, 3, 5},
      {2, 4, 2, 8, 4},
      {17, 6, 3, 4, 7},
      {64, 2, 2, 5, 8},
      {150, 4, 1, 8, 16},
  };
  return all;
}

void expect_near(const mx::array& actual, const std::vector<double>& expected) {
  const Values host = testing::to_host(actual);
  ASSERT_EQ(host.size(), expected.size());
  double largest = 0;
  for (const double value : expected) {
    largest = std::max(largest, std::abs(value));
  }
  for (std::size_t i = 0; i < host.size(); ++i) {
    ASSERT_NEAR(host[i], expected[i], 2e-5 * largest) << "at " << i;
  }
}

struct Mamba {
  explicit Mamba(const Sizes& s) : size(s) {
    Random random;
    const auto count = [](int a, int b, int c) {
      return static_cast<std::size_t>(a) * b * c;
    };
    x = random.normal(count(s.tokens, s.heads, s.head_dim), 0, 1);
    steps = random.normal(count(s.tokens, s.heads, 1), 0.2f, 0.05f);
    decay = random.normal(count(s.heads, 1, 1), -1.5f, 0.3f);
    b = random.normal(count(s.tokens, s.groups, s.state_dim), 0, 1);
    c = random.normal(count(s.tokens, s.groups, s.state_dim), 0, 1);
    memory = random.normal(count(s.heads, s.head_dim, s.state_dim), 0, 1);
  }

  Scanned scan(decltype(&mamba2_scan) form) const {
    const Sizes& s = size;
    return form(
        shaped(x, {s.tokens, s.heads, s.head_dim}),
        shaped(steps, {s.tokens, s.heads}),
        shaped(decay, {s.heads}),
        shaped(b, {s.tokens, s.groups, s.state_dim}),
        shaped(c, {s.tokens, s.groups, s.state_dim}),
        shaped(memory, {s.heads, s.head_dim, s.state_dim}));
  }

  /// y, with `state` left behind.
  std::vector<double> plain(std::vector<double>& state) const {
    state.assign(memory.begin(), memory.end());
    std::vector<double> y;
    for (int t = 0; t < size.tokens; ++t) {
      for (int h = 0; h < size.heads; ++h) {
        const int group = h / (size.heads / size.groups);
        const double step = steps[t * size.heads + h];
        for (int p = 0; p < size.head_dim; ++p) {
          const double in = x[(t * size.heads + h) * size.head_dim + p];
          double sum = 0;
          for (int n = 0; n < size.state_dim; ++n) {
            const int key = (t * size.groups + group) * size.state_dim + n;
            double& held = state[(h * size.head_dim + p) * size.state_dim + n];
            held = std::exp(step * decay[h]) * held + step * in * b[key];
            sum += held * c[key];
          }
          y.push_back(sum);
        }
      }
    }
    return y;
  }

  Sizes size;
  Values x, steps, decay, b, c, memory;
};

class GraphScans : public testing::EveryIsa {};

INSTANTIATE_TEST_SUITE_P(
    Isas,
    GraphScans,
    ::testing::ValuesIn(testing::runnable_isas()),
    testing::isa_test_name);

TEST_P(GraphScans, Mamba2IsTheRecurrence) {
  for (const Sizes& size : sizes()) {
    const Mamba mamba(size);
    std::vector<double> state;
    const auto y = mamba.plain(state);
    for (const auto form : {mamba2_scan, mamba2_scan_ops}) {
      const Scanned scanned = mamba.scan(form);
      expect_near(scanned.y, y);
      expect_near(scanned.memory, state);
    }
  }
}

/// Rows of unit length.
Values units(Values rows, int length) {
  for (std::size_t i = 0; i < rows.size(); i += length) {
    double sum = 0;
    for (int j = 0; j < length; ++j) {
      sum += static_cast<double>(rows[i + j]) * rows[i + j];
    }
    for (int j = 0; j < length; ++j) {
      rows[i + j] /= static_cast<float>(std::sqrt(sum));
    }
  }
  return rows;
}

struct Delta {
  explicit Delta(const Sizes& s) : size(s) {
    Random random;
    const auto keys =
        static_cast<std::size_t>(s.tokens) * s.groups * s.state_dim;
    const auto each = static_cast<std::size_t>(s.tokens) * s.heads;
    q = units(random.normal(keys, 0, 1), s.state_dim);
    // Alike, so that later writes correct earlier ones.
    k = units(random.normal(keys, 1, 0.5f), s.state_dim);
    v = random.normal(each * s.head_dim, 0, 1);
    log_decay = random.normal(each, -0.1f, 0.02f);
    beta = random.normal(each, 0.6f, 0.1f);
    memory = random.normal(
        static_cast<std::size_t>(s.heads) * s.state_dim * s.head_dim,
        0,
        1);
  }

  Scanned scan(decltype(&gated_delta_scan) form) const {
    const Sizes& s = size;
    return form(
        shaped(q, {s.tokens, s.groups, s.state_dim}),
        shaped(k, {s.tokens, s.groups, s.state_dim}),
        shaped(v, {s.tokens, s.heads, s.head_dim}),
        shaped(log_decay, {s.tokens, s.heads}),
        shaped(beta, {s.tokens, s.heads}),
        shaped(memory, {s.heads, s.state_dim, s.head_dim}));
  }

  std::vector<double> plain(std::vector<double>& state) const {
    state.assign(memory.begin(), memory.end());
    std::vector<double> y;
    for (int t = 0; t < size.tokens; ++t) {
      for (int h = 0; h < size.heads; ++h) {
        step(t, h, state, y);
      }
    }
    return y;
  }

  void step(int t, int h, std::vector<double>& state, std::vector<double>& y)
      const {
    const int key =
        (t * size.groups + h / (size.heads / size.groups)) * size.state_dim;
    const int at = t * size.heads + h;
    const auto held = [&](int n, int d) -> double& {
      return state[(h * size.state_dim + n) * size.head_dim + d];
    };
    for (int d = 0; d < size.head_dim; ++d) {
      double known = 0;
      for (int n = 0; n < size.state_dim; ++n) {
        held(n, d) *= std::exp(static_cast<double>(log_decay[at]));
        known += held(n, d) * k[key + n];
      }
      const double write = beta[at] * (v[at * size.head_dim + d] - known);
      double sum = 0;
      for (int n = 0; n < size.state_dim; ++n) {
        held(n, d) += write * k[key + n];
        sum += held(n, d) * q[key + n];
      }
      y.push_back(sum);
    }
  }

  Sizes size;
  Values q, k, v, log_decay, beta, memory;
};

TEST_P(GraphScans, TheGatedDeltaRuleIsTheRecurrence) {
  for (const Sizes& size : sizes()) {
    const Delta delta(size);
    std::vector<double> state;
    const auto y = delta.plain(state);
    for (const auto form : {gated_delta_scan, gated_delta_scan_ops}) {
      const Scanned scanned = delta.scan(form);
      expect_near(scanned.y, y);
      expect_near(scanned.memory, state);
    }
  }
}

}  // namespace
}  // namespace roofline
