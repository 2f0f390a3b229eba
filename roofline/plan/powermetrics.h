// What macOS's `powermetrics` wrote in its text format: power and the GPU's
// state, sample by sample. Lines that mean nothing to it are passed over.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

namespace roofline {

struct PowerSample {
  double seconds = 0;  ///< how long it lasted
  /// When it ended, in seconds since 1970, to the second; absent where the
  /// heading can't be read.
  std::optional<double> end_unix_seconds;
  std::optional<double> cpu_watts, gpu_watts, ane_watts;
  /// CPU, GPU and ANE together: as told, else the sum of what is known.
  std::optional<double> total_watts;
  std::optional<double> gpu_active;  ///< share of the time, 0 to 1
  std::optional<double> gpu_hz;
};

/// Every sample that tells a power or the GPU's state; none for garbage.
std::vector<PowerSample> parse_powermetrics(std::string_view text);

/// The samples that overlap the time from begin to begin + seconds; all of them
/// when none has a date or none overlaps (`dated` says which).
struct PowerDuring {
  std::vector<PowerSample> samples;
  bool dated = false;
};
PowerDuring power_during(
    const std::vector<PowerSample>& samples,
    double begin_unix_seconds,
    double seconds);

/// Means over time; absent when no sample tells.
std::optional<double> mean_of(
    const std::vector<PowerSample>& samples,
    std::optional<double> PowerSample::*field);

}  // namespace roofline
