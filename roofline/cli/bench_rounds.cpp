#include "roofline/cli/bench_rounds.h"

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "roofline/base/clock.h"
#include "roofline/base/thread_pool.h"
#include "roofline/cli/options.h"
#include "roofline/cli/output.h"
#include "roofline/plan/bandwidth.h"
#include "roofline/plan/chips.h"
#include "roofline/report/progress.h"

namespace roofline::cli {

namespace {

// Without --rounds a slow model gets fewer, so that it ends in about this.
constexpr double kPatienceSeconds = 120;
constexpr int kFewestRounds = 2;

/// What memory gives just now, read from this process while those of the
/// configurations wait.
class MemoryGauge {
 public:
  double read(int threads) {
    constexpr double kSeconds = 0.03;
    auto& pool = pools_[threads];
    if (pool == nullptr) {
      pool = std::make_unique<ThreadPool>(threads);
    }
    return measure_read_bandwidth(*pool, kSeconds).bytes_per_second;
  }

 private:
  std::map<int, std::unique_ptr<ThreadPool>> pools_;
};

/// Runs the case, with a look at the memory before and after.
std::optional<BenchSample> measure(
    BenchEngine& engine,
    const BenchCase& what,
    MemoryGauge& gauge) {
  const auto threads = engine.cpu_threads();
  if (!threads) {
    return engine.measure(what);
  }
  const double before = gauge.read(*threads);
  auto sample = engine.measure(what);
  if (sample) {
    sample->bytes_per_second = (before + gauge.read(*threads)) / 2;
  }
  return sample;
}

void add_figures(
    const BenchEngines& engines,
    const BenchOptions& options,
    BenchReport& report) {
  for (const BenchCase& what : bench_cases(options)) {
    for (const auto& engine : engines) {
      BenchFigure figure;
      figure.what = what;
      figure.engine = engine->engine();
      figure.setup = engine->setup();
      report.figures.push_back(std::move(figure));
    }
  }
}

// rounds: that count, besides round 0.
void run_round(
    const BenchEngines& engines,
    BenchReport& report,
    int round,
    int rounds,
    MemoryGauge& gauge,
    Progress& progress,
    const std::atomic<bool>& stop) {
  for (std::size_t i = 0; i < report.figures.size() && !stop; ++i) {
    BenchFigure& figure = report.figures[i];
    const double done =
        static_cast<double>(round) +
        static_cast<double>(i) / static_cast<double>(report.figures.size());
    progress.update(
        done / (rounds + 1),
        fmt::format("{} of {}", figure.what.name(), figure.engine));
    const auto sample =
        measure(*engines[i % engines.size()], figure.what, gauge);
    if (!sample) {
      continue;
    }
    if (round == 0) {
      figure.first_seconds = sample->seconds;
    } else {
      figure.samples.push_back(*sample);
    }
  }
}

/// Drops what a peer can't do, and says so; what was stopped stays.
void leave_out_unmeasured(BenchReport& report) {
  std::map<std::string, std::vector<std::string>> missing;
  std::erase_if(report.figures, [&](const BenchFigure& figure) {
    const bool absent = figure.samples.empty() && figure.engine != "roofline";
    if (absent) {
      missing[figure.engine].push_back(figure.what.name());
    }
    return absent;
  });
  for (const auto& [engine, cases] : missing) {
    report.remarks.push_back(fmt::format(
        "{} isn't in {}: its benchmark programs here don't measure {}.",
        engine,
        fmt::join(cases, ", "),
        cases.size() == 1 ? "it" : "them"));
  }
}

bool is_pair(const BenchFigure& gpu, const BenchFigure& cpu) {
  return gpu.what.name() == cpu.what.name() &&
         gpu.setup.find("gpu") != std::string::npos &&
         cpu.setup.find("cpu") != std::string::npos && cpu.speed() > 0;
}

}  // namespace

void run_rounds(
    const BenchEngines& engines,
    const BenchOptions& options,
    bool shorten,
    BenchReport& report,
    const std::atomic<bool>& stop) {
  add_figures(engines, options, report);
  Progress progress("Measuring", notice_on_terminal());
  MemoryGauge gauge;
  int rounds = options.rounds;
  // Round 0 warms up: pages come in, kernels are compiled, threads start.
  for (int round = 0; round <= rounds && !stop; ++round) {
    const auto start = Clock::now();
    run_round(engines, report, round, rounds, gauge, progress, stop);
    const double seconds = seconds_since(start);
    if (round == 0 && shorten && seconds * rounds > kPatienceSeconds) {
      rounds = std::clamp(
          static_cast<int>(kPatienceSeconds / seconds),
          kFewestRounds,
          rounds);
      report.remarks.push_back(
          fmt::format("{} rounds: one takes {:.0f} s.", rounds, seconds));
    }
  }
  if (!stop) {
    leave_out_unmeasured(report);
  }
}

void fill_roofs(
    const BenchEngines& engines,
    const BenchOptions& options,
    const PlannedModel& model,
    BenchReport& report) {
  for (const auto& engine : engines) {
    auto* process = dynamic_cast<SetupProcess*>(engine.get());
    if (process == nullptr) {
      continue;
    }
    process->finish();
    report.setups.push_back({process->setup(), process->facts()});
    const auto choice = process->given().quantize();
    const PlannedModel stored =
        choice ? quantized(model, weight_format(*choice)) : model;
    for (BenchFigure& figure : report.figures) {
      if (figure.engine == "roofline" && figure.setup == process->setup()) {
        set_roof(
            figure,
            stored,
            process->facts().rates,
            options.prefill_step,
            process->given().kv.resolve());
      }
    }
    if (process->facts().random_weights) {
      report.remarks.push_back(fmt::format(
          "{} has no weights here: random ones of its shape were run.",
          model.name));
    }
  }
}

void add_factors(BenchReport& report) {
  const Chip* chip = look_up_chip(report.before.cpu);
  const auto claim = chip == nullptr ? std::nullopt : claimed_speedup(*chip);
  const std::string expected =
      claim ? fmt::format(
                  "{:.1f} to {:.1f} times are expected of a {}",
                  claim->least,
                  claim->most,
                  chip->name)
            : "";
  bool any = false;
  for (const BenchFigure& gpu : report.figures) {
    for (const BenchFigure& cpu : report.figures) {
      if (is_pair(gpu, cpu)) {
        any = true;
        report.remarks.push_back(fmt::format(
            "{}: the GPU is {:.1f} times as fast as the CPU{}.",
            gpu.what.name(),
            gpu.speed() / cpu.speed(),
            claim ? fmt::format(" ({})", expected) : ""));
      }
    }
  }
  if (!any) {
    report.remarks.push_back(fmt::format(
        "MLX finds no GPU here (`roofline doctor` tells why), so the CPU was "
        "measured alone{}.",
        claim ? "; " + expected : ", and nothing is expected of its GPU"));
  }
}

}  // namespace roofline::cli
