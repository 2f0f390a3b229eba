#include "roofline/plan/powermetrics.h"

#include <time.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <sstream>
#include <string>
#include <utility>

namespace roofline {

namespace {

constexpr std::string_view kHeading = "*** Sampled system activity (";

/// The number after a line's colon when its name begins so.
std::optional<double> number_after(
    const std::string& line,
    std::string_view name) {
  if (line.compare(0, name.size(), name) != 0) {
    return std::nullopt;
  }
  const std::size_t colon = line.find(':');
  if (colon == line.npos) {
    return std::nullopt;
  }
  const char* begin = line.c_str() + colon + 1;
  char* end = nullptr;
  const double value = std::strtod(begin, &end);
  const bool sane = end != begin && std::isfinite(value) && value >= 0;
  return sane ? std::optional(value) : std::nullopt;
}

/// "Fri Sep  4 17:15:14 2015 +1000"
std::optional<double> unix_time(const std::string& text) {
  tm parts = {};
  const char* rest = ::strptime(text.c_str(), "%a %b %d %H:%M:%S %Y", &parts);
  if (rest == nullptr) {
    return std::nullopt;
  }
  const long zone = std::strtol(rest, nullptr, 10);  // +hhmm
  const long minutes = zone / 100 * 60 + zone % 100;
  return static_cast<double>(::timegm(&parts) - 60 * minutes);
}

/// "*** Sampled system activity (DATE) (503.12ms elapsed) ***"
PowerSample read_heading(const std::string& line) {
  PowerSample sample;
  const std::size_t date = kHeading.size();
  const std::size_t close = line.find(')', date);
  if (close == line.npos) {
    return sample;
  }
  sample.end_unix_seconds = unix_time(line.substr(date, close - date));
  const std::size_t open = line.find('(', close);
  if (open != line.npos) {
    const double ms = std::strtod(line.c_str() + open + 1, nullptr);
    sample.seconds = std::isfinite(ms) && ms > 0 ? ms / 1e3 : 0;
  }
  return sample;
}

void read_line(const std::string& line, PowerSample& sample) {
  struct Field {
    std::string_view name;
    std::optional<double> PowerSample::*field;
    double unit;
  };
  constexpr double kMilli = 1e-3;
  static constexpr Field kFields[] = {
      {"CPU Power:", &PowerSample::cpu_watts, kMilli},
      {"GPU Power:", &PowerSample::gpu_watts, kMilli},
      {"ANE Power:", &PowerSample::ane_watts, kMilli},
      {"Combined Power", &PowerSample::total_watts, kMilli},
      // Intel's, in watts, with its GPU and the rest of the chip.
      {"Intel energy model derived package power",
       &PowerSample::total_watts,
       1},
      {"GPU HW active residency:", &PowerSample::gpu_active, 1e-2},
      {"GPU active residency:", &PowerSample::gpu_active, 1e-2},
      {"GPU HW active frequency:", &PowerSample::gpu_hz, 1e6},
      {"GPU active frequency:", &PowerSample::gpu_hz, 1e6},
  };
  for (const Field& field : kFields) {
    if (const auto value = number_after(line, field.name)) {
      sample.*field.field = *value * field.unit;
    }
  }
  constexpr std::string_view kPressure = "Current pressure level: ";
  if (line.compare(0, kPressure.size(), kPressure) == 0) {
    sample.thermal_pressure = line.substr(kPressure.size());
  }
  // Where only the idle share is told.
  if (!sample.gpu_active) {
    if (const auto idle = number_after(line, "GPU idle residency:")) {
      sample.gpu_active = std::max(0.0, 1 - *idle * 1e-2);
    }
  }
}

}  // namespace

void keep_power_sample(PowerSample sample, std::vector<PowerSample>& samples) {
  const auto parts = {sample.cpu_watts, sample.gpu_watts, sample.ane_watts};
  if (!sample.total_watts) {
    for (const auto& part : parts) {
      if (part) {
        sample.total_watts = sample.total_watts.value_or(0) + *part;
      }
    }
  }
  const bool tells = sample.total_watts || sample.gpu_active || sample.gpu_hz;
  if (tells && sample.seconds > 0) {
    samples.push_back(std::move(sample));
  }
}

std::string thermal_pressure_of(const std::vector<PowerSample>& samples) {
  for (const PowerSample& sample : samples) {
    if (!sample.thermal_pressure.empty() &&
        sample.thermal_pressure != "Nominal") {
      return sample.thermal_pressure;
    }
  }
  return "";
}

std::vector<PowerSample> parse_powermetrics(std::string_view text) {
  if (text.find("<plist") != text.npos) {
    return parse_power_plists(text);
  }
  std::vector<PowerSample> samples;
  std::optional<PowerSample> current;
  std::istringstream lines{std::string(text)};
  for (std::string line; std::getline(lines, line);) {
    if (line.compare(0, kHeading.size(), kHeading) == 0) {
      if (current) {
        keep_power_sample(*current, samples);
      }
      current = read_heading(line);
    } else if (current) {
      read_line(line, *current);
    }
  }
  if (current) {
    keep_power_sample(*current, samples);
  }
  return samples;
}

PowerDuring power_during(
    const std::vector<PowerSample>& samples,
    double begin_unix_seconds,
    double seconds) {
  PowerDuring during;
  for (const PowerSample& sample : samples) {
    // Dates have no fractions of a second.
    if (sample.end_unix_seconds &&
        *sample.end_unix_seconds + 1 > begin_unix_seconds &&
        *sample.end_unix_seconds - sample.seconds <
            begin_unix_seconds + seconds) {
      during.samples.push_back(sample);
    }
  }
  during.dated = !during.samples.empty();
  if (!during.dated) {
    during.samples = samples;
  }
  return during;
}

std::optional<double> mean_of(
    const std::vector<PowerSample>& samples,
    std::optional<double> PowerSample::*field) {
  double sum = 0;
  double seconds = 0;
  for (const PowerSample& sample : samples) {
    if (sample.*field) {
      sum += *(sample.*field) * sample.seconds;
      seconds += sample.seconds;
    }
  }
  return seconds > 0 ? std::optional(sum / seconds) : std::nullopt;
}

}  // namespace roofline
