#include "roofline/quantize/refine.h"

#include <algorithm>
#include <atomic>
#include <cmath>

#include "roofline/kernels/gemm/gemm.h"

namespace roofline {

namespace {

/// Rows whose systems are held at once.
constexpr int kTileRows = 64;
/// Added to a system's diagonal, as a share of it: groups whose codes are all
/// alike can't tell scale from bias.
constexpr double kRidge = 1e-6;

/// Solves the symmetric positive system a·x = b in place by Cholesky; false
/// when it is singular. a: [n, n], destroyed; b becomes x.
bool solve(std::vector<double>& a, std::vector<double>& b) {
  const std::size_t n = b.size();
  for (std::size_t col = 0; col < n; ++col) {
    double pivot = a[col * n + col];
    for (std::size_t k = 0; k < col; ++k) {
      pivot -= a[col * n + k] * a[col * n + k];
    }
    if (!(pivot > 0)) {
      return false;
    }
    pivot = std::sqrt(pivot);
    a[col * n + col] = pivot;
    for (std::size_t row = col + 1; row < n; ++row) {
      double value = a[row * n + col];
      for (std::size_t k = 0; k < col; ++k) {
        value -= a[row * n + k] * a[col * n + k];
      }
      a[row * n + col] = value / pivot;
    }
  }
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t k = 0; k < i; ++k) {
      b[i] -= a[i * n + k] * b[k];
    }
    b[i] /= a[i * n + i];
  }
  for (std::size_t i = n; i-- > 0;) {
    for (std::size_t k = i + 1; k < n; ++k) {
      b[i] -= a[k * n + i] * b[k];
    }
    b[i] /= a[i * n + i];
  }
  return true;
}

/// Least squares for a tile of rows. With w ≈ Σ_g scale_g·code + bias_g, the
/// unknowns of a row are its scales, then its biases, and the system's entries
/// are code-, or one-, weighed sums of the moments.
class ScaleFit {
 public:
  ScaleFit(
      CodeMatrix& matrix,
      const FloatMatrix& weights,
      const SquareMatrix& moments,
      ThreadPool& pool)
      : matrix_(matrix),
        weights_(weights),
        moments_(moments),
        pool_(pool),
        cols_(static_cast<std::size_t>(matrix.cols)),
        group_(static_cast<std::size_t>(matrix.format.group_size)),
        groups_(static_cast<std::size_t>(matrix.groups())),
        unknowns_(2 * groups_) {
    sum_ones();
  }

  void run() {
    for (int first = 0; first < matrix_.rows; first += kTileRows) {
      const int rows = std::min(kTileRows, matrix_.rows - first);
      systems_.assign(
          static_cast<std::size_t>(rows) * unknowns_ * unknowns_,
          0.0);
      sides_.assign(static_cast<std::size_t>(rows) * unknowns_, 0.0);
      build(first, rows);
      for_each_row(
          rows,
          pool_,
          [&](int row) {
            solve_row(first + row, static_cast<std::size_t>(row));
          },
          1);
    }
  }

 private:
  /// ones_[g][j]: the moments' column j summed over group g.
  void sum_ones() {
    ones_.assign(groups_ * cols_, 0.0f);
    for (std::size_t i = 0; i < cols_; ++i) {
      const float* row = moments_.row(static_cast<int>(i));
      float* to = ones_.data() + i / group_ * cols_;
      for (std::size_t j = 0; j < cols_; ++j) {
        to[j] += row[j];
      }
    }
  }

  void build(int first, int rows) {
    const std::size_t begin = static_cast<std::size_t>(first) * cols_;
    const std::size_t count = static_cast<std::size_t>(rows) * cols_;
    codes_.resize(count);
    product_.resize(count);
    for (std::size_t i = 0; i < count; ++i) {
      codes_[i] = static_cast<float>(matrix_.codes[begin + i]);
    }
    // Right side: both kinds of sums over w·M.
    multiply(weights_.values.data() + begin, rows, 0, cols_);
    for_each_row(rows, pool_, [&](int row) {
      const auto r = static_cast<std::size_t>(row);
      double* side = sides_.data() + r * unknowns_;
      fold(r, side, side + groups_);
    });
    // Columns of the system: one group's codes times M, folded again.
    for (std::size_t g = 0; g < groups_; ++g) {
      multiply(codes_.data() + g * group_, rows, g * group_, group_);
      for_each_row(rows, pool_, [&](int row) {
        const auto r = static_cast<std::size_t>(row);
        double* line = systems_.data() + (r * unknowns_ + g) * unknowns_;
        fold(r, line, line + groups_);
        // Biases with biases are the same for all rows.
        double* ones =
            systems_.data() + (r * unknowns_ + groups_ + g) * unknowns_;
        for (std::size_t other = 0; other < groups_; ++other) {
          ones[groups_ + other] = one_sum(g, other);
        }
      });
    }
  }

  /// product_ = a[rows, depth] · M[from …, :]; a has rows of cols_ floats.
  void multiply(const float* a, int rows, std::size_t from, std::size_t depth) {
    gemm(
        {a, static_cast<std::ptrdiff_t>(cols_), 1},
        rows,
        {float_matrix(
             moments_.row(static_cast<int>(from)),
             static_cast<int>(depth),
             matrix_.cols),
         false,
         matrix_.cols},
        product_.data(),
        matrix_.cols,
        GemmResult::replace,
        pool_);
  }

  /// Sums of one row of product_ over each group: with the codes, and alone.
  void fold(std::size_t row, double* with_codes, double* alone) const {
    const float* values = product_.data() + row * cols_;
    const float* codes = codes_.data() + row * cols_;
    for (std::size_t g = 0; g < groups_; ++g) {
      double weighed = 0;
      double plain = 0;
      for (std::size_t j = g * group_; j < (g + 1) * group_; ++j) {
        weighed += static_cast<double>(values[j]) * codes[j];
        plain += static_cast<double>(values[j]);
      }
      with_codes[g] = weighed;
      alone[g] = plain;
    }
  }

  double one_sum(std::size_t g, std::size_t other) const {
    double sum = 0;
    const float* line = ones_.data() + g * cols_;
    for (std::size_t j = other * group_; j < (other + 1) * group_; ++j) {
      sum += static_cast<double>(line[j]);
    }
    return sum;
  }

  void solve_row(int row, std::size_t in_tile) {
    const std::size_t n = unknowns_;
    const double* system = systems_.data() + in_tile * n * n;
    std::vector<double> a(system, system + n * n);
    // Only lines of scales were folded: their part beside the biases, turned.
    for (std::size_t g = 0; g < groups_; ++g) {
      for (std::size_t other = 0; other < groups_; ++other) {
        a[(groups_ + other) * n + g] = a[g * n + groups_ + other];
      }
    }
    for (std::size_t i = 0; i < n; ++i) {
      a[i * n + i] += kRidge * a[i * n + i];
    }
    const double* side = sides_.data() + in_tile * n;
    std::vector<double> x(side, side + n);
    if (!solve(a, x)) {
      return;
    }
    const std::size_t at = static_cast<std::size_t>(row) * groups_;
    for (std::size_t g = 0; g < groups_; ++g) {
      const auto scale = static_cast<float>(x[g]);
      const auto bias = static_cast<float>(x[groups_ + g]);
      if (std::isfinite(scale) && std::isfinite(bias) && scale != 0) {
        matrix_.scales[at + g] = rounded(scale, matrix_.scale_type);
        matrix_.biases[at + g] = rounded(bias, matrix_.scale_type);
      }
    }
  }

  CodeMatrix& matrix_;
  const FloatMatrix& weights_;
  const SquareMatrix& moments_;
  ThreadPool& pool_;
  std::size_t cols_, group_, groups_, unknowns_;
  std::vector<float> ones_, codes_, product_;
  std::vector<double> systems_, sides_;
};

}  // namespace

void fit_scales(
    CodeMatrix& matrix,
    const FloatMatrix& weights,
    const SquareMatrix& moments,
    ThreadPool& pool) {
  ScaleFit(matrix, weights, moments, pool).run();
}

std::int64_t descend_codes(
    CodeMatrix& matrix,
    const FloatMatrix& weights,
    const SquareMatrix& moments,
    ThreadPool& pool) {
  const auto cols = static_cast<std::size_t>(matrix.cols);
  const auto group = static_cast<std::size_t>(matrix.format.group_size);
  std::atomic<std::int64_t> changed = 0;
  std::vector<float> delta, slopes;
  for (int first = 0; first < matrix.rows; first += kTileRows) {
    const int rows = std::min(kTileRows, matrix.rows - first);
    delta.resize(static_cast<std::size_t>(rows) * cols);
    slopes.resize(delta.size());
    for_each_row(rows, pool, [&](int row) {
      float* to = delta.data() + static_cast<std::size_t>(row) * cols;
      const auto wanted = weights.row(first + row);
      const auto* codes =
          matrix.codes.data() + static_cast<std::size_t>(first + row) * cols;
      for (int g = 0; g < matrix.groups(); ++g) {
        const GroupGrid grid = grid_of(matrix, first + row, g);
        const auto begin = static_cast<std::size_t>(g) * group;
        for (std::size_t j = begin; j < begin + group; ++j) {
          to[j] = grid.value(codes[j]) - wanted[j];
        }
      }
    });
    gemm(
        {delta.data(), matrix.cols, 1},
        rows,
        {float_matrix(moments.values.data(), moments.size, moments.size)},
        slopes.data(),
        matrix.cols,
        GemmResult::replace,
        pool);
    for_each_row(
        rows,
        pool,
        [&](int row) {
          float* slope = slopes.data() + static_cast<std::size_t>(row) * cols;
          auto* codes = matrix.codes.data() +
                        static_cast<std::size_t>(first + row) * cols;
          std::int64_t count = 0;
          for (std::size_t j = 0; j < cols; ++j) {
            const GroupGrid grid =
                grid_of(matrix, first + row, static_cast<int>(j / group));
            const float* line = moments.row(static_cast<int>(j));
            const float now = grid.value(codes[j]);
            const auto better = grid.nearest(now - slope[j] / line[j]);
            const float step = grid.value(better) - now;
            // Equal codes, or two ways to write zero.
            if (step == 0) {
              continue;
            }
            codes[j] = better;
            ++count;
            for (std::size_t k = 0; k < cols; ++k) {
              slope[k] += step * line[k];
            }
          }
          changed += count;
        },
        1);
  }
  return changed;
}

void refine(
    CodeMatrix& matrix,
    const FloatMatrix& weights,
    const SquareMatrix& moments,
    int rounds,
    ThreadPool& pool) {
  for (int round = 0; round < rounds; ++round) {
    if (matrix.format.mode == QuantMode::affine) {
      fit_scales(matrix, weights, moments, pool);
    }
    if (descend_codes(matrix, weights, moments, pool) == 0) {
      return;
    }
  }
}

}  // namespace roofline
