#include <time.h>

#include <cmath>
#include <cstdlib>
#include <string>
#include <vector>

#include "roofline/plan/powermetrics.h"

namespace roofline {

namespace {

/// Values of a property list with the keys that lead to them: "gpu/idle_ratio".
/// Arrays (the states of each cluster) are passed over.
class PlistReader {
 public:
  explicit PlistReader(std::string_view text) : text_(text) {}

  /// False at the end.
  bool next(std::string& path, std::string& value) {
    while (const auto tag = next_tag()) {
      if (*tag == "array") {
        ++arrays_;
      } else if (*tag == "/array") {
        arrays_ -= arrays_ > 0 ? 1 : 0;
      } else if (arrays_ > 0) {
        continue;
      } else if (*tag == "key") {
        key_ = text_until_tag();
      } else if (*tag == "dict") {
        dicts_.push_back(key_);
      } else if (*tag == "/dict") {
        if (!dicts_.empty()) {
          dicts_.pop_back();
        }
      } else if (
          *tag == "integer" || *tag == "real" || *tag == "string" ||
          *tag == "date") {
        path = path_of(key_);
        value = text_until_tag();
        return true;
      }
    }
    return false;
  }

 private:
  /// The next tag's name without its attributes.
  std::optional<std::string_view> next_tag() {
    const std::size_t open = text_.find('<', at_);
    const std::size_t close = text_.find('>', open);
    if (open == text_.npos || close == text_.npos) {
      return std::nullopt;
    }
    at_ = close + 1;
    const std::string_view tag = text_.substr(open + 1, close - open - 1);
    return tag.substr(0, tag.find(' '));
  }

  std::string text_until_tag() {
    const std::size_t end = std::min(text_.find('<', at_), text_.size());
    return std::string(text_.substr(at_, end - at_));
  }

  std::string path_of(const std::string& key) const {
    std::string path;
    // The outermost dictionary has no name.
    for (std::size_t i = 1; i < dicts_.size(); ++i) {
      path += dicts_[i] + "/";
    }
    return path + key;
  }

  std::string_view text_;
  std::size_t at_ = 0;
  std::string key_;
  std::vector<std::string> dicts_;
  int arrays_ = 0;
};

/// "2026-09-11T20:41:46Z"
std::optional<double> unix_time(const std::string& text) {
  tm parts = {};
  if (::strptime(text.c_str(), "%Y-%m-%dT%H:%M:%SZ", &parts) == nullptr) {
    return std::nullopt;
  }
  return static_cast<double>(::timegm(&parts));
}

std::optional<double> number(const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  const bool sane = end != text.c_str() && std::isfinite(value) && value >= 0;
  return sane ? std::optional(value) : std::nullopt;
}

/// What a sample says, with energies where no power is told.
struct PlistSample {
  PowerSample power;
  std::optional<double> cpu_joules, gpu_joules, ane_joules;
};

void take(PlistSample& sample, const std::string& path, double value) {
  struct Field {
    std::string_view path;
    std::optional<double> PowerSample::*field;
  };
  constexpr double kMilli = 1e-3;
  static constexpr Field kPowers[] = {
      {"processor/cpu_power", &PowerSample::cpu_watts},
      {"processor/gpu_power", &PowerSample::gpu_watts},
      {"processor/ane_power", &PowerSample::ane_watts},
      {"processor/combined_power", &PowerSample::total_watts},
  };
  for (const Field& field : kPowers) {
    if (path == field.path) {
      sample.power.*field.field = value * kMilli;
    }
  }
  if (path == "elapsed_ns") {
    sample.power.seconds = value * 1e-9;
  } else if (path == "processor/package_watts") {
    sample.power.total_watts = value;  // Intel's
  } else if (path == "processor/cpu_energy") {
    sample.cpu_joules = value * kMilli;
  } else if (path == "gpu/gpu_energy" || path == "processor/gpu_energy") {
    sample.gpu_joules = value * kMilli;
  } else if (path == "processor/ane_energy") {
    sample.ane_joules = value * kMilli;
  } else if (path == "gpu/freq_hz") {
    // It says Hz and means MHz, up to macOS 26 at least.
    constexpr double kMostMega = 1e5;
    sample.power.gpu_hz = value < kMostMega ? value * 1e6 : value;
  } else if (path == "gpu/idle_ratio" && !sample.power.gpu_active) {
    // It is written twice; the second one is always 0.
    sample.power.gpu_active = std::max(0.0, 1 - value);
  }
}

PowerSample finish(PlistSample sample) {
  const auto fill = [&](std::optional<double>& watts, const auto& joules) {
    if (!watts && joules && sample.power.seconds > 0) {
      watts = *joules / sample.power.seconds;
    }
  };
  fill(sample.power.cpu_watts, sample.cpu_joules);
  fill(sample.power.gpu_watts, sample.gpu_joules);
  fill(sample.power.ane_watts, sample.ane_joules);
  return sample.power;
}

}  // namespace

std::vector<PowerSample> parse_power_plists(std::string_view text) {
  std::vector<PowerSample> samples;
  constexpr std::string_view kEnd = "</plist>";
  while (!text.empty()) {
    const std::size_t end = text.find(kEnd);
    PlistReader reader(text.substr(0, end));
    PlistSample sample;
    std::string path;
    std::string value;
    while (reader.next(path, value)) {
      if (path == "timestamp") {
        sample.power.end_unix_seconds = unix_time(value);
      } else if (path == "thermal_pressure") {
        sample.power.thermal_pressure = value;
      } else if (const auto read = number(value)) {
        take(sample, path, *read);
      }
    }
    keep_power_sample(finish(std::move(sample)), samples);
    text.remove_prefix(end == text.npos ? text.size() : end + kEnd.size());
  }
  return samples;
}

}  // namespace roofline
