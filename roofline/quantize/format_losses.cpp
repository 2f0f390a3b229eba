#include "roofline/quantize/format_losses.h"

#include <algorithm>
#include <cstdint>

#include "roofline/quantize/gptq.h"
#include "roofline/quantize/input_statistics.h"

namespace roofline {

namespace {

/// Rows that are looked at: what more of them would change is less than what
/// rounding one matrix at a time leaves open. GPTQ takes longer.
constexpr int kRows = 1024;
constexpr int kGptqRows = 128;

FloatMatrix rows_from_all_over(const FloatMatrix& matrix, int most) {
  const int rows = std::min(matrix.rows, most);
  FloatMatrix out{rows, matrix.cols, {}};
  for (int i = 0; i < rows; ++i) {
    const auto row = matrix.row(
        static_cast<int>(static_cast<std::int64_t>(i) * matrix.rows / rows));
    out.values.insert(out.values.end(), row.begin(), row.end());
  }
  return out;
}

double error_of(
    const FloatMatrix& weights,
    const FloatMatrix& rounded,
    const SquareMatrix* moments,
    ThreadPool& pool) {
  if (moments != nullptr) {
    return output_error(weights, rounded, *moments, pool);
  }
  double sum = 0;
  for (std::size_t i = 0; i < weights.values.size(); ++i) {
    const auto delta =
        static_cast<double>(rounded.values[i] - weights.values[i]);
    sum += delta * delta;
  }
  return sum;
}

}  // namespace

std::vector<double> format_losses(
    const FloatMatrix& weights,
    const SquareMatrix* moments,
    const LossQuestion& question,
    ThreadPool& pool) {
  const bool gptq = question.gptq && moments != nullptr;
  const FloatMatrix some =
      rows_from_all_over(weights, gptq ? kGptqRows : kRows);
  const SquareMatrix root = gptq ? gptq_root(*moments, pool) : SquareMatrix();
  const auto error = [&](const MatrixFormat& format) {
    const CodeMatrix codes =
        gptq ? gptq_by_root(some, root, format, question.scale_type, pool)
             : round_plain(
                   some,
                   format,
                   question.scale_type,
                   pool,
                   RangeSearch::narrower);
    return error_of(some, decode(codes, pool), moments, pool);
  };
  const double base = std::max(error(question.probe), 1e-300);
  std::vector<double> losses;
  for (const MatrixFormat& format : question.candidates) {
    losses.push_back(
        !format.fits(weights.cols) ? 0
        : format == question.probe ? 1.0
                                   : error(format) / base);
  }
  return losses;
}

}  // namespace roofline
