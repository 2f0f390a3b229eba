// The rounds of a benchmark: every engine runs every case once a round, in
// turn.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "roofline/cli/bench_report.h"
#include "roofline/cli/bench_setup.h"
#include "roofline/plan/planned_model.h"

namespace roofline::cli {

using BenchEngines = std::vector<std::unique_ptr<BenchEngine>>;

/// Adds a figure for every case and engine. shorten: where the rounds would
/// take over two minutes, fewer are run and a remark says so. Stops early when
/// `stop` says so.
void run_rounds(
    const BenchEngines& engines,
    const BenchOptions& options,
    bool shorten,
    BenchReport& report,
    const std::atomic<bool>& stop);

/// Ends our engines and fills in the roofs of their figures, each for the model
/// as its configuration stores it.
void fill_roofs(
    const BenchEngines& engines,
    const BenchOptions& options,
    const PlannedModel& model,
    BenchReport& report);

/// Remarks on the GPU against the CPU, beside the factor that is claimed for
/// the chip.
void add_factors(BenchReport& report);

}  // namespace roofline::cli
