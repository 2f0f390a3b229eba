#include "roofline/cli/optimize_report.h"

#include <algorithm>

#include <fmt/format.h>

#include "roofline/cli/output.h"
#include "roofline/report/table.h"

namespace roofline::cli {

namespace {

using Json = nlohmann::ordered_json;

double seconds_of(const OptimizeCandidate& candidate, bool measured) {
  return measured ? candidate.seconds() : candidate.predicted_seconds;
}

bool told(const OptimizeCandidate& candidate, bool measured) {
  return !measured || candidate.measured();
}

std::vector<std::string> row_of(
    const OptimizeCandidate& candidate,
    bool measured,
    bool chosen) {
  const bool known = told(candidate, measured);
  const auto number = [&](bool there, const std::string& text) {
    return there ? text : std::string("-");
  };
  const double seconds = seconds_of(candidate, measured);
  return {
      candidate.settings.text(),
      number(known && seconds > 0, fmt::format("{:.2f} s", seconds)),
      number(
          candidate.measured(),
          fmt::format("{:.0f} tok/s", candidate.prefill_speed())),
      number(
          candidate.measured(),
          fmt::format("{:.1f} tok/s", candidate.decode_speed())),
      format_bytes(static_cast<double>(candidate.bytes())),
      candidate.quality ? fmt::format("{:.3f}", candidate.quality->score())
                        : std::string("-"),
      chosen                       ? "chosen"
      : !candidate.dropped.empty() ? candidate.dropped
      : candidate.on_front         ? "best trade-off"
                                   : ""};
}

Json candidate_json(const OptimizeCandidate& candidate, bool chosen) {
  Json out = {
      {"settings", candidate.settings.text()},
      {"predicted_seconds", candidate.predicted_seconds},
      {"predicted_bytes", candidate.predicted_bytes},
      {"measured", candidate.measured()},
      {"seconds", candidate.seconds()},
      {"prefill_tokens_per_second", candidate.prefill_speed()},
      {"decode_tokens_per_second", candidate.decode_speed()},
      {"peak_bytes", candidate.peak_bytes},
      {"dropped", candidate.dropped},
      {"told_only", candidate.told_only},
      {"on_pareto_front", candidate.on_front},
      {"chosen", chosen},
      {"quality", nullptr}};
  if (const auto& quality = candidate.quality) {
    out["quality"] = {
        {"score", quality->score()},
        {"mean_kl_nats", quality->mean_kl},
        {"p99_kl_nats", quality->p99_kl},
        {"top1_agreement", quality->top1_agreement},
        {"perplexity", quality->perplexity},
        {"reference_perplexity", quality->reference_perplexity},
        {"tokens", quality->tokens}};
  }
  return out;
}

}  // namespace

std::string optimize_text(const OptimizeResult& result, bool measured) {
  Table table{
      {{"Settings"},
       {measured ? "Time" : "Time, predicted", Align::right},
       {"Prefill", Align::right},
       {"Decode", Align::right},
       {measured ? "Memory" : "Memory, predicted", Align::right},
       {"Quality", Align::right},
       {""}},
      {}};
  for (std::size_t i = 0; i < result.candidates.size(); ++i) {
    table.rows.push_back(
        row_of(result.candidates[i], measured, i == result.choice));
  }
  return fmt::format(
      "{}\n{}\n",
      table_text(table, output_columns()),
      result.why);
}

Json optimize_json(const OptimizeResult& result, bool measured) {
  Json out = {
      {"choice", result.candidates[result.choice].settings.text()},
      {"measured", measured},
      {"why", result.why},
      {"speedup", result.speedup},
      {"speedup_low", measured ? Json(result.speedup_low) : Json()},
      {"speedup_high", measured ? Json(result.speedup_high) : Json()},
      {"used_seconds", result.used_seconds},
      {"candidates", Json::array()}};
  for (std::size_t i = 0; i < result.candidates.size(); ++i) {
    out["candidates"].push_back(
        candidate_json(result.candidates[i], i == result.choice));
  }
  return out;
}

Chart optimize_chart(
    const OptimizeResult& result,
    bool measured,
    const std::string& model) {
  Chart chart;
  chart.kind = ChartKind::points;
  chart.title = fmt::format("{}: time over memory", model);
  chart.x_title = "Memory, MB";
  chart.y_title = "Time of the workload, s";
  ChartSeries front{"Best trade-offs", {}, true};
  ChartSeries others{"Others", {}, false};
  for (const OptimizeCandidate& candidate : result.candidates) {
    const double seconds = seconds_of(candidate, measured);
    if (seconds <= 0) {
      continue;
    }
    ChartPoint point;
    point.x = static_cast<double>(candidate.bytes()) / 1e6;
    point.y = seconds;
    point.label = candidate.settings.text();
    (candidate.on_front ? front : others).points.push_back(std::move(point));
  }
  std::sort(
      front.points.begin(),
      front.points.end(),
      [](const ChartPoint& a, const ChartPoint& b) { return a.x < b.x; });
  for (ChartSeries* series : {&front, &others}) {
    if (!series->points.empty()) {
      chart.series.push_back(std::move(*series));
    }
  }
  return chart;
}

}  // namespace roofline::cli
