// What macOS's `powermetrics` wrote, as text or (`-f plist`) as property lists:
// power, the GPU's state and thermal pressure, sample by sample, of Apple
// silicon and of Intel. What means nothing to it is passed over.
#pragma once

#include <optional>
#include <string>
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
  /// "Nominal", "Light", "Moderate", "Heavy" …; empty: not told.
  std::string thermal_pressure;
};

/// Every sample that tells a power or the GPU's state; none for garbage.
std::vector<PowerSample> parse_powermetrics(std::string_view text);

/// The part of it that reads property lists, one after another.
std::vector<PowerSample> parse_power_plists(std::string_view text);

/// Adds what the parts say of the total, and keeps a sample that tells
/// something.
void keep_power_sample(PowerSample sample, std::vector<PowerSample>& samples);

/// The first thermal pressure among the samples that isn't nominal; empty:
/// none.
std::string thermal_pressure_of(const std::vector<PowerSample>& samples);

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
