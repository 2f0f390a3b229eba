#include "roofline/cli/truth.h"

#include "roofline/plan/machine.h"

namespace roofline::cli {

TruthLine truth_of(
    const LoadedModel& loaded,
    const GenerateStats& stats,
    const std::optional<int>& max_kv_tokens) {
  return make_truth_line(
      loaded.decoder(),
      stats,
      current_profile(),
      loaded.load_seconds(),
      max_kv_tokens);
}

}  // namespace roofline::cli
