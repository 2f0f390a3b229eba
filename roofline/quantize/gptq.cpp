#include "roofline/quantize/gptq.h"

#include <algorithm>

#include "roofline/base/errors.h"
#include "roofline/kernels/gemm/gemm.h"
#include "roofline/quantize/input_statistics.h"

namespace roofline {

namespace {

/// Columns after which the rest is brought up to date; a multiple of every
/// group size.
constexpr int kBlock = 128;
constexpr int kMostDampings = 6;
constexpr float kMoreDamping = 0.1f;

class Run {
 public:
  Run(const FloatMatrix& weights,
      const SquareMatrix& root,
      const MatrixFormat& format,
      Encoding scale_type,
      ThreadPool& pool)
      : left_(weights),
        root_(root),
        out_(empty_codes(weights.rows, weights.cols, format, scale_type)),
        pool_(pool),
        errors_(static_cast<std::size_t>(weights.rows) * kBlock) {
    for (int col = 0; col < weights.cols; ++col) {
      const float spread = root_.at(col, col);
      importance_.push_back(1.0f / (spread * spread));
    }
  }

  CodeMatrix run() {
    for (int begin = 0; begin < left_.cols; begin += kBlock) {
      const int end = std::min(left_.cols, begin + kBlock);
      for_each_row(left_.rows, pool_, [&](int row) {
        round_block(row, begin, end);
      });
      if (end < left_.cols) {
        spread(begin, end);
      }
    }
    return std::move(out_);
  }

 private:
  /// Rounds the columns [begin, end) of a row. Leaves the errors, divided by
  /// their column's spread and negative, in errors_.
  void round_block(int row, int begin, int end) {
    const auto values = left_.row(row);
    const int group = out_.format.group_size;
    auto* codes = out_.codes.data() + static_cast<std::size_t>(row) *
                                          static_cast<std::size_t>(out_.cols);
    float* errors = errors_.data() + static_cast<std::size_t>(row) * kBlock;
    for (int first = begin; first < end; first += group) {
      fit(row, first / group);
      const GroupGrid grid = grid_of(out_, row, first / group);
      for (int col = first; col < first + group; ++col) {
        const auto c = static_cast<std::size_t>(col);
        codes[c] = grid.nearest(values[c]);
        const float* along = root_.row(col);
        const float error = (values[c] - grid.value(codes[c])) / along[c];
        for (int k = col + 1; k < end; ++k) {
          values[static_cast<std::size_t>(k)] -= error * along[k];
        }
        errors[col - begin] = -error;
      }
    }
  }

  void fit(int row, int group) {
    const auto size = static_cast<std::size_t>(out_.format.group_size);
    const auto first = static_cast<std::size_t>(group) * size;
    const auto at = static_cast<std::size_t>(row) *
                        static_cast<std::size_t>(out_.groups()) +
                    static_cast<std::size_t>(group);
    fit_group(
        std::span<const float>(left_.row(row)).subspan(first, size),
        std::span<const float>(importance_).subspan(first, size),
        out_.format,
        out_.scale_type,
        RangeSearch::narrower,
        out_.scales[at],
        out_.biases[at]);
  }

  /// The block's errors, spread over all later columns of all rows.
  void spread(int begin, int end) {
    const int cols = left_.cols;
    gemm(
        {errors_.data(), kBlock, 1},
        left_.rows,
        {float_matrix(root_.row(begin) + end, end - begin, cols - end),
         false,
         cols},
        left_.values.data() + end,
        cols,
        GemmResult::add,
        pool_);
  }

  FloatMatrix left_;  ///< what is still to be rounded, errors spread so far
  const SquareMatrix& root_;
  CodeMatrix out_;
  ThreadPool& pool_;
  std::vector<float> errors_;  ///< [rows, kBlock]
  std::vector<float> importance_;
};

}  // namespace

SquareMatrix gptq_root(SquareMatrix moments, ThreadPool& pool) {
  SquareMatrix root;
  for (int i = 0; i < kMostDampings; ++i) {
    if (inverse_root(moments, root, pool)) {
      return root;
    }
    moments = damped(std::move(moments), kMoreDamping);
  }
  fail<BugError>(
      "gptq: the inputs' moments can't be inverted",
      "They aren't finite, or not symmetric",
      "Please report this");
}

CodeMatrix gptq_by_root(
    const FloatMatrix& weights,
    const SquareMatrix& root,
    const MatrixFormat& format,
    Encoding scale_type,
    ThreadPool& pool) {
  return Run(weights, root, format, scale_type, pool).run();
}

CodeMatrix gptq(
    const FloatMatrix& weights,
    const SquareMatrix& moments,
    const MatrixFormat& format,
    Encoding scale_type,
    ThreadPool& pool) {
  const SquareMatrix root = gptq_root(moments, pool);
  return gptq_by_root(weights, root, format, scale_type, pool);
}

}  // namespace roofline
