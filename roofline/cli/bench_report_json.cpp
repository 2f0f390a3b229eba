#include <fmt/format.h>

#include "roofline/cli/bench_report.h"

namespace roofline::cli {

namespace {

using Json = nlohmann::ordered_json;

Json facts_json(const MachineFacts& facts) {
  const auto value = [](const auto& optional) {
    return optional ? Json(*optional) : Json(nullptr);
  };
  return {
      {"system", facts.system},
      {"cpu", facts.cpu},
      {"usable_cores", facts.usable_cores},
      {"memory_bytes", facts.memory_bytes},
      {"load_average", value(facts.load_average)},
      {"frequency_hz", value(facts.frequency_hz)},
      {"temperature_celsius", value(facts.temperature_celsius)}};
}

Json setup_json(const BenchReport& report, const BenchReport::Setup& setup) {
  const auto value = [](const std::optional<double>& optional) {
    return optional ? Json(*optional) : Json(nullptr);
  };
  const SetupFacts& facts = setup.facts;
  return {
      {"name", setup.name},
      {"device", facts.device},
      {"random_weights", facts.random_weights},
      {"load_seconds", facts.load_seconds},
      {"first_token_cold_seconds", value(facts.first_token_seconds)},
      {"first_token_warm_seconds", value(warm_first_token(report, setup))},
      {"peak_memory_bytes", facts.peak_bytes},
      {"step_weight_bytes", facts.rates.step_weight_bytes},
      {"read_bandwidth_bytes_per_second", facts.rates.bytes_per_second},
      {"peak_operations_per_second", facts.rates.operations_per_second}};
}

// The first of our own of a phase: what most people ask for.
Json headline(const BenchReport& report, BenchPhase phase) {
  for (const BenchFigure& figure : report.figures) {
    if (figure.engine == "roofline" && figure.what.phase == phase &&
        !figure.samples.empty()) {
      return figure.speed();
    }
  }
  return nullptr;
}

}  // namespace

std::optional<double> warm_first_token(
    const BenchReport& report,
    const BenchReport::Setup& setup) {
  for (const BenchFigure& figure : report.figures) {
    if (figure.engine == "roofline" && figure.setup == setup.name &&
        figure.what.phase == BenchPhase::prefill && figure.what.depth == 0 &&
        figure.what.batch == 1 && !figure.samples.empty()) {
      return figure.what.tokens / figure.speed();
    }
  }
  return std::nullopt;
}

std::vector<std::string> warnings_of(const BenchReport& report) {
  std::vector<std::string> warnings;
  for (const BenchFigure& figure : report.figures) {
    if (figure.samples.size() > 1 && figure.spread() > kWorthlessSpread) {
      warnings.push_back(fmt::format(
          "{} of {} spreads by {:.0f} %: something else used the machine, "
          "so this figure says little. Measure again with more --rounds.",
          figure.what.name(),
          figure.engine,
          figure.spread() * 100));
    }
  }
  for (const BenchFigure& figure : report.figures) {
    if (figure.share_of_roof().value_or(0) > 1.05) {
      warnings.push_back(fmt::format(
          "{}{} is over its roof: part of the model stayed in the processor's "
          "cache, or the bandwidth was measured while the machine was busy.",
          figure.what.name(),
          figure.setup.empty() ? "" : fmt::format(" ({})", figure.setup)));
    }
  }
  const auto load = report.before.load_average;
  if (load && *load > report.before.usable_cores * 0.5) {
    warnings.push_back(fmt::format(
        "The machine was busy before it began (load {:.1f} on {} cores).",
        *load,
        report.before.usable_cores));
  }
  return warnings;
}

Json report_json(const BenchReport& report) {
  Json out = {
      {"model", report.model},
      {"prefill_tokens_per_second", headline(report, BenchPhase::prefill)},
      {"decode_tokens_per_second", headline(report, BenchPhase::decode)}};
  out["setups"] = Json::array();
  for (const auto& setup : report.setups) {
    out["setups"].push_back(setup_json(report, setup));
  }
  out["figures"] = Json::array();
  for (const BenchFigure& figure : report.figures) {
    out["figures"].push_back(figure_json(figure, report.rates_of(figure)));
  }
  out["machine"] = {
      {"before", facts_json(report.before)},
      {"after", facts_json(report.after)}};
  out["remarks"] = report.remarks;
  out["warnings"] = warnings_of(report);
  return out;
}

}  // namespace roofline::cli
