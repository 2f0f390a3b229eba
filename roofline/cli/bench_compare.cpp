#include "roofline/cli/bench_compare.h"

#include <algorithm>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/cli/command.h"
#include "roofline/cli/output.h"
#include "roofline/plan/bench_compare.h"
#include "roofline/report/table.h"

namespace roofline::cli {

namespace {

using Json = nlohmann::ordered_json;

std::vector<BenchFigure> read_figures(const std::filesystem::path& path) {
  const Json json = read_json(path);
  if (!json.is_object() || !json.contains("figures") ||
      !json["figures"].is_array()) {
    fail<UserError>(
        fmt::format("{} is no benchmark", path.string()),
        "It has no list of figures",
        "Name a file that roofline bench --out FILE.json wrote");
  }
  std::vector<BenchFigure> figures;
  for (const Json& figure : json["figures"]) {
    figures.push_back(figure_from_json(figure));
  }
  return figures;
}

const char* name_of(Change change) {
  switch (change) {
    case Change::faster:
      return "faster";
    case Change::slower:
      return "slower";
    case Change::same:
      break;
  }
  return "same";
}

Table table_of(const std::vector<FigureChange>& changes) {
  Table table{
      {{"Figure"},
       {"Before", Align::right},
       {"After", Align::right},
       {"Change", Align::right},
       {"95 % interval", Align::right},
       {""}},
      {}};
  const auto percent = [](double ratio) {
    return fmt::format("{:+.1f} %", (ratio - 1) * 100);
  };
  for (const FigureChange& change : changes) {
    table.rows.push_back(
        {change.name,
         fmt::format("{:.1f} tok/s", change.before),
         fmt::format("{:.1f} tok/s", change.after),
         percent(change.speed.ratio),
         fmt::format(
             "{} to {}",
             percent(change.speed.low),
             percent(change.speed.high)),
         name_of(change.change)});
  }
  return table;
}

Json json_of(const std::vector<FigureChange>& changes) {
  Json out = Json::array();
  for (const FigureChange& change : changes) {
    out.push_back(
        {{"figure", change.name},
         {"before_tokens_per_second", change.before},
         {"after_tokens_per_second", change.after},
         {"ratio", change.speed.ratio},
         {"ratio_low", change.speed.low},
         {"ratio_high", change.speed.high},
         {"change", name_of(change.change)}});
  }
  return out;
}

}  // namespace

int compare_reports(
    const std::filesystem::path& before,
    const std::filesystem::path& after,
    double tolerance,
    bool json) {
  const auto changes =
      compare_figures(read_figures(before), read_figures(after), tolerance);
  if (json) {
    write_json(json_of(changes));
  } else {
    write_text(table_text(table_of(changes), output_columns()));
  }
  const bool slower =
      std::any_of(changes.begin(), changes.end(), [](const auto& change) {
        return change.change == Change::slower;
      });
  return slower ? kRegression : kSuccess;
}

}  // namespace roofline::cli
