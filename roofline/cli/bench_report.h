// A benchmark's figures as what people and programs read: a table, markdown,
// CSV, JSON, a chart and a page.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "roofline/cli/bench_setup.h"
#include "roofline/plan/machine_facts.h"

namespace roofline::cli {

struct BenchReport {
  std::string model;
  MachineFacts before;  ///< the machine when it began
  MachineFacts after;
  struct Setup {
    std::string name;
    SetupFacts facts;
  };
  std::vector<Setup> setups;
  std::vector<BenchFigure> figures;
  std::vector<std::string> remarks;  ///< sentences of what is worth knowing

  /// Rates of a figure's setup; zeros for a peer.
  BenchRates rates_of(const BenchFigure& figure) const;
};

/// What makes figures worthless, a sentence each: spread, load, few rounds.
std::vector<std::string> warnings_of(const BenchReport& report);

/// Seconds of a prompt after others, of the first case that tells one.
std::optional<double> warm_first_token(
    const BenchReport& report,
    const BenchReport::Setup& setup);

std::string report_text(const BenchReport& report);
std::string report_markdown(const BenchReport& report);
std::string report_csv(const BenchReport& report);
nlohmann::ordered_json report_json(const BenchReport& report);

/// Throws UserError for a name that write_report() can't write to.
void check_report_path(const std::filesystem::path& path);

/// By extension: .md, .csv, .json, .svg, .png, .html; whole or not at all.
/// Throws UserError for another one.
void write_report(const BenchReport& report, const std::filesystem::path& path);

}  // namespace roofline::cli
