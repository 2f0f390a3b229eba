#include "roofline/cli/truth.h"

#include "roofline/plan/machine.h"

namespace roofline::cli {

TruthLine truth_of(
    const LoadedModel& loaded,
    const GenerateStats& stats,
    const std::optional<int>& max_kv_tokens) {
  TruthLine line = make_truth_line(
      loaded.decoder(),
      stats,
      loaded.load_seconds(),
      max_kv_tokens);
  line.has_draft = loaded.has_draft();
  line.requantized = loaded.requantized();
  line.bandwidth = current_profile().read_bandwidth;
  if (const auto share = line.share_of_roof(); share && *share > 1) {
    line.bandwidth = profile_beside(line.step.total(), *share * line.bandwidth)
                         .read_bandwidth;
  }
  return line;
}

}  // namespace roofline::cli
