// Measures candidates of a search for settings: speed and memory in a process
// of its own for each (the benchmark's), quality in this one.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "roofline/base/clock.h"
#include "roofline/cli/bench_setup.h"
#include "roofline/plan/optimize.h"
#include "roofline/weights/checkpoint.h"

namespace roofline::cli {

class SetupMeasurer : public OptimizeMeasurer {
 public:
  /// model: what plan_model() takes, with weights here. quality_share: of the
  /// budget, what measuring the quality of one format may take.
  /// prompt_file: what is answered; empty: synthetic ids. sampling: how tokens
  /// are drawn, where a candidate doesn't say otherwise.
  SetupMeasurer(
      std::string model,
      std::string device,
      double quality_seconds,
      std::string prompt_file,
      SamplingFlags sampling);

  OptimizeSample measure(
      const RunSettings& settings,
      const Workload& work,
      int decode_tokens) override;
  std::optional<QualityReport> quality(const RunSettings& settings) override;
  std::optional<QualityReport> glance(const RunSettings& settings) override;
  void forget(const RunSettings& settings) override;
  double seconds() override;

 private:
  SetupProcess& process_of(const RunSettings& settings, const Workload& work);
  std::unique_ptr<Decoder> load(const RunSettings& settings, bool keep);
  QualityReport judge(
      const RunSettings& settings,
      std::size_t most_tokens,
      bool keep);

  std::string model_, device_, prompt_file_;
  SamplingFlags sampling_;
  double quality_seconds_;
  Clock::time_point start_;
  /// By RunSettings::text().
  std::map<std::string, std::unique_ptr<SetupProcess>> processes_;
  std::unique_ptr<Checkpoint> checkpoint_;
  std::unique_ptr<Decoder> reference_;
  std::vector<std::int32_t> tokens_;
};

}  // namespace roofline::cli
