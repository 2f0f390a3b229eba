#include "roofline/cli/profile_report.h"

#include <algorithm>
#include <chrono>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/cli/output.h"
#include "roofline/report/table.h"

namespace roofline::cli {

namespace {

using Json = nlohmann::ordered_json;

struct Phase {
  std::string name;
  double seconds = 0;
  int count = 0;
};

/// Spans of a category by name, in order of their first.
std::vector<Phase> phases_of(
    const MemoryTrace& trace,
    const std::string& category) {
  std::vector<Phase> phases;
  for (const TraceSpan& span : trace.spans) {
    if (span.category != category) {
      continue;
    }
    std::size_t i = 0;
    while (i < phases.size() && phases[i].name != span.name) {
      ++i;
    }
    if (i == phases.size()) {
      phases.push_back({span.name, 0, 0});
    }
    phases[i].seconds += span.seconds;
    ++phases[i].count;
  }
  return phases;
}

double share_of_roof(const ProfileResult& result) {
  const double roof = roof_tokens_per_second(result.step, result.bandwidth);
  return roof > 0 ? result.run.decode_tokens_per_second() / roof : 0;
}

std::string decode_text(const ProfileResult& result) {
  const TracedRun& run = result.run;
  if (run.steps == 0) {
    return "no decode step";
  }
  const double share = share_of_roof(result);
  return fmt::format(
      "decode {} steps at {:.1f} tok/s, {:.0f} % of the roof ({:.1f} GB/s); "
      "host {:.1f} % of decode{}",
      run.steps,
      run.decode_tokens_per_second(),
      100 * share,
      result.bandwidth / 1e9,
      100 * run.host_seconds / run.decode_seconds,
      share > 1 ? "\nMore than the memory gives: part of what a step reads "
                  "lies in the processor's caches"
                : "");
}

std::string phase_table(const MemoryTrace& trace) {
  Table table{
      {{"phase"},
       {"time", Align::right},
       {"share", Align::right},
       {"count", Align::right}},
      {}};
  double total = 0;
  for (const Phase& phase : phases_of(trace, "phase")) {
    total += phase.seconds;
  }
  const auto add = [&](const std::string& category, const char* indent) {
    for (const Phase& phase : phases_of(trace, category)) {
      table.rows.push_back(
          {fmt::format("{}{}", indent, phase.name),
           fmt::format("{:.1f} ms", 1e3 * phase.seconds),
           fmt::format("{:.1f} %", total > 0 ? 100 * phase.seconds / total : 0),
           std::to_string(phase.count)});
    }
  };
  add("phase", "");
  table.rows.push_back({});
  add("forward", "in these: ");
  add("host", "in these: ");
  return table_text(table, output_columns());
}

std::string op_table(const ProfileResult& result) {
  if (result.run.steps == 0) {
    return "";
  }
  if (!result.run.decode_ops) {
    return "Time by operation: not available on this path (MLX runs the graph "
           "as a whole)\n";
  }
  Table table{
      {{"operation (decode)"},
       {"time", Align::right},
       {"share", Align::right},
       {"weights", Align::right}},
      {}};
  double total = 0;
  for (const OpTimes::Total& op : *result.run.decode_ops) {
    total += op.seconds;
  }
  for (std::size_t i = 0; i < kStepOpNames.size(); ++i) {
    const OpTimes::Total& op = (*result.run.decode_ops)[i];
    table.rows.push_back(
        {std::string(kStepOpNames[i]),
         fmt::format("{:.1f} ms", 1e3 * op.seconds),
         fmt::format("{:.1f} %", total > 0 ? 100 * op.seconds / total : 0),
         op.bytes > 0 && op.seconds > 0
             ? fmt::format("{:.1f} GB/s", op.bytes / op.seconds / 1e9)
             : "–"});
  }
  return table_text(table, output_columns());
}

Json ops_json(const std::optional<OpTimes::Totals>& ops) {
  if (!ops) {
    return nullptr;
  }
  Json list = Json::array();
  for (std::size_t i = 0; i < kStepOpNames.size(); ++i) {
    list.push_back(
        {{"name", kStepOpNames[i]},
         {"seconds", (*ops)[i].seconds},
         {"weight_bytes", (*ops)[i].bytes}});
  }
  return list;
}

std::string memory_text(const MemoryTrace& trace) {
  const MemorySample peak = trace.peak();
  const auto text = [](std::uint64_t bytes) {
    return format_bytes(static_cast<double>(bytes));
  };
  return fmt::format(
      "Peak memory: {} resident, of it {} mapped weights; KV cache {}; MLX {} "
      "active, {} cached\n",
      text(peak.resident_bytes),
      text(peak.file_bytes),
      text(peak.kv_bytes),
      text(peak.mlx_active_bytes),
      text(peak.mlx_cache_bytes));
}

std::optional<double> joules_per_token(const ProfileResult& result) {
  const auto watts = mean_of(result.power.samples, &PowerSample::total_watts);
  const double speed = result.run.decode_tokens_per_second();
  return watts && speed > 0 ? std::optional(*watts / speed) : std::nullopt;
}

std::string power_text(const ProfileResult& result) {
  const auto& samples = result.power.samples;
  if (samples.empty()) {
    return "";
  }
  const auto watts = mean_of(samples, &PowerSample::total_watts);
  std::string text = fmt::format(
      "Power ({} samples{}): {:.1f} W",
      samples.size(),
      result.power.dated ? "" : ", of another time than this run",
      watts.value_or(0));
  if (const auto gpu = mean_of(samples, &PowerSample::gpu_active)) {
    text += fmt::format(", GPU active {:.0f} %", 100 * *gpu);
  }
  if (const auto joules = joules_per_token(result)) {
    text += fmt::format(", {:.2f} J a token", *joules);
  }
  const std::string pressure = thermal_pressure_of(samples);
  if (!pressure.empty()) {
    text += fmt::format("; thermal pressure: {}", pressure);
  }
  return text + "\n";
}

Json power_json(const ProfileResult& result) {
  const auto& samples = result.power.samples;
  if (samples.empty()) {
    return nullptr;
  }
  const auto mean = [&](std::optional<double> PowerSample::*field) {
    const auto value = mean_of(samples, field);
    return value ? Json(*value) : Json(nullptr);
  };
  const auto joules = joules_per_token(result);
  return {
      {"samples", samples.size()},
      {"of_this_run", result.power.dated},
      {"watts", mean(&PowerSample::total_watts)},
      {"cpu_watts", mean(&PowerSample::cpu_watts)},
      {"gpu_watts", mean(&PowerSample::gpu_watts)},
      {"ane_watts", mean(&PowerSample::ane_watts)},
      {"gpu_active", mean(&PowerSample::gpu_active)},
      {"gpu_hz", mean(&PowerSample::gpu_hz)},
      {"joules_per_token", joules ? Json(*joules) : Json(nullptr)},
      {"thermal_pressure", thermal_pressure_of(samples)}};
}

Json memory_json(const MemoryTrace& trace) {
  const MemorySample peak = trace.peak();
  return {
      {"samples", trace.samples.size()},
      {"resident_bytes", peak.resident_bytes},
      {"mapped_bytes", peak.file_bytes},
      {"kv_bytes", peak.kv_bytes},
      {"mlx_active_bytes", peak.mlx_active_bytes},
      {"mlx_cache_bytes", peak.mlx_cache_bytes}};
}

}  // namespace

double unix_seconds() {
  return std::chrono::duration<double>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

void join_powermetrics(ProfileResult& result, const std::string& text) {
  const auto all = parse_powermetrics(text);
  if (all.empty()) {
    fail<UserError>(
        "--powermetrics: the file holds no samples",
        "Expected is what macOS's powermetrics prints, as text or with -f "
        "plist",
        "Record it with `sudo powermetrics --samplers cpu_power,gpu_power -i "
        "200 -o FILE`");
  }
  const double seconds = unix_seconds() - result.begin_unix_seconds;
  result.power = power_during(all, result.begin_unix_seconds, seconds);
  double at = 0;
  for (const PowerSample& sample : result.power.samples) {
    if (result.power.dated) {
      at = std::max(
          at,
          *sample.end_unix_seconds - sample.seconds -
              result.begin_unix_seconds);
    }
    result.trace.counters.push_back(
        {"power W",
         at,
         {{"CPU", sample.cpu_watts.value_or(0)},
          {"GPU", sample.gpu_watts.value_or(0)},
          {"ANE", sample.ane_watts.value_or(0)}}});
    if (sample.gpu_active) {
      result.trace.counters.push_back(
          {"GPU active %", at, {{"active", 100 * *sample.gpu_active}}});
    }
    if (sample.gpu_hz) {
      result.trace.counters.push_back(
          {"GPU MHz", at, {{"frequency", *sample.gpu_hz / 1e6}}});
    }
    at += sample.seconds;
  }
}

std::string profile_text(const ProfileResult& result) {
  const TracedRun& run = result.run;
  std::string text = fmt::format(
      "{} · {}\nLoad {:.0f} ms, compile {:.1f} ms (first less second step)\n",
      result.model,
      result.device,
      1e3 * result.load_seconds,
      1e3 * run.compile_seconds);
  text += fmt::format(
      "Prefill {} tokens at {:.1f} tok/s; {}\n\n",
      run.prompt_tokens,
      run.prefill_tokens_per_second(),
      decode_text(result));
  return fmt::format(
      "{}{}\n{}\n{}{}",
      text,
      phase_table(result.trace),
      op_table(result),
      memory_text(result.trace),
      power_text(result));
}

Json profile_json(const ProfileResult& result) {
  const TracedRun& run = result.run;
  Json phases = Json::array();
  for (const char* category : {"phase", "forward", "host"}) {
    for (const Phase& phase : phases_of(result.trace, category)) {
      phases.push_back(
          {{"name", phase.name},
           {"category", category},
           {"seconds", phase.seconds},
           {"count", phase.count}});
    }
  }
  return {
      {"model", result.model},
      {"device", result.device},
      {"load_seconds", result.load_seconds},
      {"compile_seconds", run.compile_seconds},
      {"prompt_tokens", run.prompt_tokens},
      {"tokens", run.tokens},
      {"stopped", run.stopped},
      {"interrupted", run.interrupted},
      {"steps", run.steps},
      {"prefill_tokens_per_second", run.prefill_tokens_per_second()},
      {"decode_tokens_per_second",
       run.steps > 0 ? Json(run.decode_tokens_per_second()) : Json(nullptr)},
      {"decode_host_seconds", run.host_seconds},
      {"bandwidth", result.bandwidth},
      {"share_of_roof",
       run.steps > 0 ? Json(share_of_roof(result)) : Json(nullptr)},
      {"phases", std::move(phases)},
      {"prefill_operations", ops_json(run.prefill_ops)},
      {"decode_operations", ops_json(run.decode_ops)},
      {"peak_memory", memory_json(result.trace)},
      {"power", power_json(result)}};
}

}  // namespace roofline::cli
