#include "roofline/cli/bench_report.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "roofline/base/atomic_file.h"
#include "roofline/base/errors.h"
#include "roofline/base/statistics.h"
#include "roofline/cli/output.h"
#include "roofline/report/chart.h"
#include "roofline/report/table.h"

namespace roofline::cli {

namespace {

using Json = nlohmann::ordered_json;

std::string speed_text(double speed) {
  constexpr double kWhole = 1000;
  return speed >= kWhole ? fmt::format("{:.0f}", speed)
                         : fmt::format("{:.1f}", speed);
}

std::string percent(double share) {
  return fmt::format("{:.0f} %", share * 100);
}

Table figures_table(const BenchReport& report) {
  Table table{
      {{"Case"},
       {"Engine"},
       {"tok/s", Align::right},
       {"Spread", Align::right},
       {"p95", Align::right},
       {"Roof", Align::right},
       {"Of roof", Align::right},
       {"J/token", Align::right}},
      {}};
  for (const BenchFigure& figure : report.figures) {
    const auto roof = figure.roof();
    const auto share = figure.share_of_roof();
    const auto joules = figure.joules_per_token();
    table.rows.push_back(
        {figure.what.name(),
         figure.setup.empty()
             ? figure.engine
             : fmt::format("{}: {}", figure.engine, figure.setup),
         speed_text(figure.speed()),
         fmt::format("{:.1f} %", figure.spread() * 100),
         speed_text(figure.slow_tail()),
         roof ? speed_text(*roof) : "–",
         share ? percent(*share) : "–",
         joules ? fmt::format("{:.2f}", *joules) : "–"});
  }
  if (std::none_of(
          report.figures.begin(),
          report.figures.end(),
          [](const auto& figure) { return figure.joules_per_token(); })) {
    table.columns.pop_back();
    for (auto& row : table.rows) {
      row.pop_back();
    }
  }
  return table;
}

Table time_table(const BenchReport& report) {
  Table table{
      {{"Where the time went"},
       {"Weights", Align::right},
       {"KV", Align::right},
       {"Arithmetic", Align::right},
       {"Host", Align::right},
       {"Rest", Align::right},
       {"Warm-up", Align::right}},
      {}};
  for (const BenchFigure& figure : report.figures) {
    if (figure.roof_seconds <= 0) {
      continue;
    }
    const TimeShares shares = time_shares(figure, report.rates_of(figure));
    table.rows.push_back(
        {fmt::format("{}, {}", figure.what.name(), figure.setup),
         percent(shares.weights),
         percent(shares.kv),
         percent(shares.arithmetic),
         percent(shares.host),
         percent(shares.rest),
         fmt::format("{:.0f} ms", figure.warm_up_seconds() * 1e3)});
  }
  return table;
}

std::string seconds_text(const std::optional<double>& seconds) {
  return seconds ? fmt::format("{:.3f} s", *seconds) : "–";
}

Table setups_table(const BenchReport& report) {
  Table table{
      {{"Configuration"},
       {"Device"},
       {"Load", Align::right},
       {"First token, cold", Align::right},
       {"warm", Align::right},
       {"Peak memory", Align::right}},
      {}};
  for (const auto& setup : report.setups) {
    table.rows.push_back(
        {setup.name,
         setup.facts.device,
         seconds_text(setup.facts.load_seconds),
         seconds_text(setup.facts.first_token_seconds),
         seconds_text(warm_first_token(report, setup)),
         format_bytes(setup.facts.peak_bytes)});
  }
  return table;
}

std::string rates_text(const BenchReport& report) {
  std::string text;
  for (const auto& setup : report.setups) {
    text += fmt::format(
        "Roof of {}: {:.1f} GB/s and {:.0f} billion operations a second, "
        "measured; {} a step\n",
        setup.name,
        setup.facts.rates.bytes_per_second / 1e9,
        setup.facts.rates.operations_per_second / 1e9,
        format_bytes(setup.facts.rates.step_weight_bytes));
  }
  return text;
}

/// Where memory gave less beside the runs than it can.
std::string beside_text(const BenchReport& report) {
  constexpr double kMuch = 0.9;
  std::string text;
  for (const BenchFigure& figure : report.figures) {
    const auto beside = figure.bandwidth_beside();
    const auto share = figure.share_of_roof_beside();
    const double best = report.rates_of(figure).bytes_per_second;
    if (beside && share && *beside < kMuch * best) {
      text += fmt::format(
          "{}{}: memory gave {:.1f} GB/s beside the runs; {} of that roof\n",
          figure.what.name(),
          figure.setup.empty() ? "" : fmt::format(" ({})", figure.setup),
          *beside / 1e9,
          percent(*share));
    }
  }
  return text;
}

std::string change_text(
    const std::optional<double>& before,
    const std::optional<double>& after,
    double unit,
    std::string_view name) {
  return before && after ? fmt::format(
                               ", {:.1f} → {:.1f} {}",
                               *before / unit,
                               *after / unit,
                               name)
                         : "";
}

std::string machine_text(const BenchReport& report) {
  const MachineFacts& before = report.before;
  const MachineFacts& after = report.after;
  return fmt::format(
      "Machine: {}, {} of {} cores, {}{}{}{}\n",
      before.cpu,
      before.usable_cores,
      before.all_cores,
      format_bytes(static_cast<double>(before.memory_bytes)),
      change_text(before.load_average, after.load_average, 1, "load"),
      change_text(before.frequency_hz, after.frequency_hz, 1e9, "GHz"),
      change_text(
          before.temperature_celsius,
          after.temperature_celsius,
          1,
          "°C"));
}

std::string notes_text(const BenchReport& report) {
  std::string text;
  for (const std::string& remark : report.remarks) {
    text += fmt::format("{}\n", remark);
  }
  for (const std::string& warning : warnings_of(report)) {
    text += fmt::format("warning: {}\n", warning);
  }
  return text;
}

Table samples_table(const BenchReport& report) {
  Table table{
      {{"engine"},
       {"setup"},
       {"phase"},
       {"tokens"},
       {"depth"},
       {"batch"},
       {"tokens_per_second"},
       {"spread"},
       {"p95_slowest_tokens_per_second"},
       {"roof_tokens_per_second"},
       {"share_of_roof"}},
      {}};
  for (const BenchFigure& figure : report.figures) {
    const auto roof = figure.roof();
    const auto share = figure.share_of_roof();
    table.rows.push_back(
        {figure.engine,
         figure.setup,
         figure.what.phase == BenchPhase::prefill ? "prefill" : "decode",
         std::to_string(figure.what.tokens),
         std::to_string(figure.what.depth),
         std::to_string(figure.what.batch),
         fmt::format("{:.3f}", figure.speed()),
         fmt::format("{:.4f}", figure.spread()),
         fmt::format("{:.3f}", figure.slow_tail()),
         roof ? fmt::format("{:.3f}", *roof) : "",
         share ? fmt::format("{:.4f}", *share) : ""});
  }
  return table;
}

// A group of bars for each case, a series for each engine and configuration.
Chart figures_chart(const BenchReport& report) {
  Chart chart;
  chart.kind = ChartKind::bars;
  chart.title = fmt::format("{}: tokens a second", report.model);
  chart.y_title = "tokens a second";
  for (const BenchFigure& figure : report.figures) {
    const std::string name = figure.what.name();
    auto& labels = chart.x_labels;
    auto label = std::find(labels.begin(), labels.end(), name);
    if (label == labels.end()) {
      label = labels.insert(labels.end(), name);
    }
    const std::string series =
        figure.setup.empty()
            ? figure.engine
            : fmt::format("{}: {}", figure.engine, figure.setup);
    auto found = std::find_if(
        chart.series.begin(),
        chart.series.end(),
        [&](const auto& other) { return other.name == series; });
    if (found == chart.series.end()) {
      found = chart.series.insert(found, ChartSeries{series, {}, false});
    }
    const auto speeds = figure.speeds();
    found->points.push_back(
        {static_cast<double>(label - labels.begin()),
         figure.speed(),
         fmt::format("{} tok/s", speed_text(figure.speed())),
         quantile_of(speeds, 0),
         quantile_of(speeds, 1)});
  }
  return chart;
}

std::string report_html(const BenchReport& report) {
  const std::vector<HtmlSection> sections = {
      {"Speed", html_table(figures_table(report))},
      {"Picture", chart_svg(figures_chart(report))},
      {"Where the time went", html_table(time_table(report))},
      {"Start and memory", html_table(setups_table(report))},
      {"Machine",
       fmt::format(
           "<pre>{}</pre>",
           html_escape(
               rates_text(report) + beside_text(report) + machine_text(report) +
               notes_text(report)))}};
  return html_page(fmt::format("Benchmark of {}", report.model), sections);
}

}  // namespace

BenchRates BenchReport::rates_of(const BenchFigure& figure) const {
  for (const Setup& setup : setups) {
    if (figure.engine == "roofline" && figure.setup == setup.name) {
      return setup.facts.rates;
    }
  }
  return {};
}

std::string report_text(const BenchReport& report) {
  const int width = output_columns();
  std::string text = fmt::format("{}\n\n", report.model);
  text += table_text(figures_table(report), width);
  const Table times = time_table(report);
  if (!times.rows.empty()) {
    text += fmt::format("\n{}", table_text(times, width));
  }
  text += fmt::format("\n{}\n", table_text(setups_table(report), width));
  return text + rates_text(report) + beside_text(report) +
         machine_text(report) + notes_text(report);
}

std::string report_markdown(const BenchReport& report) {
  return fmt::format(
      "### {}\n\n{}\n{}\n{}\n{}{}{}{}",
      report.model,
      table_markdown(figures_table(report)),
      table_markdown(time_table(report)),
      table_markdown(setups_table(report)),
      rates_text(report),
      beside_text(report),
      machine_text(report),
      notes_text(report));
}

std::string report_csv(const BenchReport& report) {
  return table_csv(samples_table(report));
}

void check_report_path(const std::filesystem::path& path) {
  const std::string kind = path.extension().string();
  for (const char* known : {".md", ".csv", ".json", ".svg", ".png", ".html"}) {
    if (kind == known) {
      return;
    }
  }
  fail<UserError>(
      fmt::format("A report can't be written to {}", path.string()),
      "Its kind follows from the name's end",
      "Name a file that ends in .md, .csv, .json, .svg, .png or .html");
}

void write_report(
    const BenchReport& report,
    const std::filesystem::path& path) {
  check_report_path(path);
  const std::string kind = path.extension().string();
  std::string text;
  if (kind == ".md") {
    text = report_markdown(report);
  } else if (kind == ".csv") {
    text = report_csv(report);
  } else if (kind == ".json") {
    text = fmt::format("{}\n", report_json(report).dump(2));
  } else if (kind == ".svg" || kind == ".png") {
    write_chart(figures_chart(report), path);
    return;
  } else if (kind == ".html") {
    text = report_html(report);
  }
  write_file_atomically(path, std::as_bytes(std::span(text)));
}

}  // namespace roofline::cli
