// What this machine can do, measured once and kept: the bandwidth that the
// share of the roof is computed from.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

namespace roofline {

struct MachineProfile {
  std::string cpu;
  int threads = 0;
  /// Read bandwidth with all threads, bytes a second, over a working set of
  /// working_set_bytes (larger than the last-level cache).
  double read_bandwidth = 0;
  std::size_t working_set_bytes = 0;
};

/// The kept profile for this processor and thread count, or none.
std::optional<MachineProfile> load_machine_profile(int threads);
/// Measures (well under a second) and keeps the profile.
MachineProfile measure_machine(int threads);
/// Kept, else measured.
MachineProfile machine_profile(int threads);

} // namespace roofline
