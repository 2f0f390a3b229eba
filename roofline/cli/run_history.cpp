#include "roofline/cli/run_history.h"

#include <unistd.h>

#include <array>
#include <cmath>

#include <fmt/format.h>

#include "roofline/base/statistics.h"
#include "roofline/cli/output.h"
#include "roofline/plan/history.h"
#include "roofline/report/table.h"

namespace roofline::cli {

namespace {

constexpr int kMostRuns = 20;

double error_bytes(const RunRecord& run) {
  return static_cast<double>(run.predicted_peak_bytes) -
         static_cast<double>(run.measured_peak_bytes);
}

double error_share(const RunRecord& run) {
  const auto measured = static_cast<double>(run.measured_peak_bytes);
  return measured > 0 ? error_bytes(run) / measured : 0;
}

std::string speed(double tokens_per_second) {
  return tokens_per_second > 0 ? fmt::format("{:.1f}", tokens_per_second) : "–";
}

nlohmann::ordered_json run_json(const RunRecord& run) {
  return {
      {"unix_seconds", run.unix_seconds},
      {"model", run.model},
      {"weights", run.quant},
      {"device", run.device},
      {"prompt_tokens", run.prompt_tokens},
      {"generated_tokens", run.generated_tokens},
      {"predicted_peak_bytes", run.predicted_peak_bytes},
      {"measured_peak_bytes", run.measured_peak_bytes},
      {"error", error_share(run)},
      {"predicted_decode_tokens_per_second", run.predicted_decode},
      {"measured_decode_tokens_per_second", run.measured_decode}};
}

}  // namespace

std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "";
}

std::optional<Calibration> calibration_here() {
  constexpr int kLatest = 200;
  return calibrate(kept_runs(kLatest), host_name(), ROOFLINE_VERSION);
}

void tell_history(bool json) {
  auto rows = nlohmann::ordered_json::array();
  std::vector<double> errors;
  Table table{
      {{"Model"},
       {"Weights"},
       {"Tokens", Align::right},
       {"Predicted", Align::right},
       {"Measured", Align::right},
       {"Error", Align::right},
       {"tok/s predicted", Align::right},
       {"measured", Align::right}},
      {}};
  for (const RunRecord& run : kept_runs(kMostRuns)) {
    rows.push_back(run_json(run));
    errors.push_back(std::abs(error_share(run)));
    table.rows.push_back(
        {run.model,
         run.quant,
         fmt::format("{}", run.prompt_tokens + run.generated_tokens),
         format_bytes(static_cast<double>(run.predicted_peak_bytes)),
         format_bytes(static_cast<double>(run.measured_peak_bytes)),
         fmt::format(
             "{:+.0f} MB ({:+.1f} %)",
             error_bytes(run) / 1e6,
             error_share(run) * 100),
         speed(run.predicted_decode),
         speed(run.measured_decode)});
  }
  const double median = median_of(errors);
  const auto calibration = calibration_here();
  if (json) {
    nlohmann::ordered_json out = {{"runs", rows}, {"median_error", median}};
    out["calibration"] = nullptr;
    if (calibration) {
      out["calibration"] = {
          {"runs", calibration->runs},
          {"runtime_bytes", calibration->constants.runtime_bytes},
          {"decode_efficiency", nullptr}};
      if (const auto share = calibration->decode_efficiency) {
        out["calibration"]["decode_efficiency"] = *share;
      }
    }
    write_json(out);
    return;
  }
  write_output(
      errors.empty()
          ? "No runs are kept yet: `roofline generate` and `roofline chat` "
            "keep theirs.\n"
          : fmt::format(
                "{}\n{} runs, newest first; median error of the peak {:.1f} "
                "%.\n",
                table_text(table),
                errors.size(),
                median * 100));
  if (calibration) {
    write_output(fmt::format(
        "From {} of them `roofline memory` takes {} for the program itself.\n",
        calibration->runs,
        format_bytes(
            static_cast<double>(calibration->constants.runtime_bytes))));
    if (const auto share = calibration->decode_efficiency) {
      write_output(fmt::format(
          "Decoding is expected to reach {:.0f} % of the roof here.\n",
          100 * *share));
    }
  }
}

}  // namespace roofline::cli
