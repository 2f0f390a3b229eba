#include "roofline/cli/run_history.h"

#include <unistd.h>

#include <array>
#include <cmath>

#include <fmt/format.h>

#include "roofline/base/cpu_features.h"
#include "roofline/base/paths.h"
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

std::string speeds(double predicted, double measured) {
  return fmt::format("{} → {}", speed(predicted), speed(measured));
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
      {"measured_decode_tokens_per_second", run.measured_decode},
      {"predicted_prefill_tokens_per_second", run.predicted_prefill},
      {"measured_prefill_tokens_per_second", run.measured_prefill},
      {"waited_share", run.waited_share}};
}

nlohmann::ordered_json calibration_json(
    const std::optional<Calibration>& calibration) {
  if (!calibration) {
    return nullptr;
  }
  nlohmann::ordered_json out = {
      {"runs", calibration->runs},
      {"runtime_bytes", calibration->constants.runtime_bytes},
      {"decode_efficiency", nullptr},
      {"prefill_efficiency", nullptr}};
  if (const auto share = calibration->decode_efficiency) {
    out["decode_efficiency"] = *share;
  }
  if (const auto share = calibration->prefill_efficiency) {
    out["prefill_efficiency"] = *share;
  }
  return out;
}

std::string calibration_text(const Calibration& calibration) {
  std::string text = fmt::format(
      "From {} of them predictions take {} for the program itself",
      calibration.runs,
      format_bytes(static_cast<double>(calibration.constants.runtime_bytes)));
  const auto add = [&](const char* phase, const std::optional<double>& share) {
    if (share) {
      text += fmt::format(", {:.0f} % of the roof for {}", 100 * *share, phase);
    }
  };
  add("decoding", calibration.decode_efficiency);
  add("prefill", calibration.prefill_efficiency);
  return text + ".\n";
}

Table history_table() {
  return {
      {{"Model"},
       {"Weights"},
       {"Tokens", Align::right},
       {"Peak", Align::right},
       {"Error", Align::right},
       {"Prefill tok/s", Align::right},
       {"Decode tok/s", Align::right}},
      {}};
}

std::vector<std::string> history_row(const RunRecord& run) {
  return {
      run.model,
      run.quant,
      fmt::format("{}", run.prompt_tokens + run.generated_tokens),
      fmt::format(
          "{} → {}",
          format_bytes(static_cast<double>(run.predicted_peak_bytes)),
          format_bytes(static_cast<double>(run.measured_peak_bytes))),
      fmt::format(
          "{:+.0f} MB ({:+.1f} %)",
          error_bytes(run) / 1e6,
          error_share(run) * 100),
      speeds(run.predicted_prefill, run.measured_prefill),
      speeds(run.predicted_decode, run.measured_decode)};
}

}  // namespace

std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "";
}

std::optional<Calibration> calibration_here(const std::string& model) {
  constexpr int kLatest = 200;
  if (environment("ROOFLINE_HISTORY") == "off") {
    return std::nullopt;
  }
  auto runs = kept_runs(kLatest);
  // Another instruction set reaches another share.
  std::erase_if(runs, [](const RunRecord& run) {
    return run.isa != isa_name(active_isa());
  });
  return calibrate(runs, host_name(), ROOFLINE_VERSION, model);
}

std::string history_name(const PlannedModel& model) {
  return model.path ? model.path->filename().string() : model.name;
}

void tell_history(bool json) {
  auto rows = nlohmann::ordered_json::array();
  std::vector<double> errors;
  Table table = history_table();
  for (const RunRecord& run : kept_runs(kMostRuns)) {
    rows.push_back(run_json(run));
    errors.push_back(std::abs(error_share(run)));
    table.rows.push_back(history_row(run));
  }
  const double median = median_of(errors);
  const auto calibration = calibration_here();
  if (json) {
    write_json(
        {{"runs", rows},
         {"median_error", median},
         {"calibration", calibration_json(calibration)}});
    return;
  }
  write_text(
      errors.empty()
          ? "No runs are kept yet: `roofline generate` and `roofline chat` "
            "keep theirs.\n"
          : fmt::format(
                "{}\n{} runs, newest first, predicted → measured; median "
                "error of the peak {:.1f} %.\n",
                table_text(table, output_columns()),
                errors.size(),
                median * 100));
  if (calibration) {
    write_text(calibration_text(*calibration));
  }
}

}  // namespace roofline::cli
