// Rounds one matrix by a method: float values and what they are multiplied with
// in, codes out.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "roofline/base/thread_pool.h"
#include "roofline/quantize/calibrate.h"
#include "roofline/quantize/codes.h"
#include "roofline/quantize/quantize.h"

namespace roofline {

class MatrixRounder {
 public:
  using InputScales = std::map<std::string, std::vector<float>, std::less<>>;

  /// method: not dwq. options and pool must outlive it.
  MatrixRounder(
      QuantizeMethod method,
      const QuantizeOptions& options,
      ThreadPool& pool)
      : method_(method), options_(options), pool_(pool) {}

  /// Whether GPTQ also makes up for what the layers before have lost.
  bool makes_up() const {
    return method_ == QuantizeMethod::gptq && options_.make_up_share > 0;
  }

  /// A stack of experts in one tensor goes expert by expert, each with what it
  /// was multiplied with. folded: AWQ's scales.
  CodeMatrix round(
      const std::string& name,
      FloatMatrix weights,
      const MatrixFormat& format,
      const StatisticsByName& statistics,
      const InputScales& folded) const;

 private:
  CodeMatrix round_one(
      const std::string& name,
      FloatMatrix weights,
      const MatrixFormat& format,
      const InputStatistics* own,
      const InputStatistics* all,
      const InputScales& folded) const;

  QuantizeMethod method_;
  const QuantizeOptions& options_;
  ThreadPool& pool_;
};

}  // namespace roofline
