#include "roofline/plan/machine_facts.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <thread>
#include <utility>

#include "roofline/base/core_count.h"
#include "roofline/base/cpu_features.h"
#include "roofline/plan/system_texts.h"

namespace roofline {

std::optional<std::uint64_t> parse_meminfo(
    std::string_view text,
    std::string_view field) {
  std::istringstream lines{std::string(text)};
  for (std::string line; std::getline(lines, line);) {
    if (line.size() > field.size() &&
        line.compare(0, field.size(), field) == 0 &&
        line[field.size()] == ':') {
      return std::strtoull(line.c_str() + field.size() + 1, nullptr, 10) * 1024;
    }
  }
  return std::nullopt;
}

std::optional<std::uint64_t> parse_memory_max(std::string_view text) {
  const std::string copy(text);
  char* end = nullptr;
  const unsigned long long bytes = std::strtoull(copy.c_str(), &end, 10);
  // Version 1 writes "no limit" as a number close to 2^63.
  constexpr unsigned long long kNoLimit = 1ULL << 60;
  if (end == copy.c_str() || bytes == 0 || bytes >= kNoLimit) {
    return std::nullopt;
  }
  return bytes;
}

std::optional<double> parse_pressure(std::string_view text) {
  constexpr std::string_view kField = "some avg10=";
  const std::size_t at = text.find(kField);
  if (at == text.npos) {
    return std::nullopt;
  }
  const std::string rest(text.substr(at + kField.size()));
  return std::strtod(rest.c_str(), nullptr);
}

std::optional<std::string> parse_os_release(std::string_view text) {
  constexpr std::string_view kField = "PRETTY_NAME=";
  std::istringstream lines{std::string(text)};
  for (std::string line; std::getline(lines, line);) {
    if (line.compare(0, kField.size(), kField) == 0) {
      std::string name = line.substr(kField.size());
      name.erase(std::remove(name.begin(), name.end(), '"'), name.end());
      return name;
    }
  }
  return std::nullopt;
}

std::optional<double> parse_cpuinfo_hertz(std::string_view text) {
  std::istringstream lines{std::string(text)};
  double fastest = 0;
  for (std::string line; std::getline(lines, line);) {
    const std::size_t colon = line.find(':');
    if (line.compare(0, 7, "cpu MHz") == 0 && colon != line.npos) {
      fastest =
          std::max(fastest, std::strtod(line.c_str() + colon + 1, nullptr));
    }
  }
  return fastest > 0 ? std::optional(fastest * 1e6) : std::nullopt;
}

#ifndef __APPLE__

namespace {

std::string read_text(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

void read_memory(MachineFacts& facts) {
  const std::string info = read_text("/proc/meminfo");
  facts.memory_bytes = parse_meminfo(info, "MemTotal").value_or(0);
  facts.installed_bytes = facts.memory_bytes;
  facts.available_bytes = parse_meminfo(info, "MemAvailable");
  const auto swap = parse_meminfo(info, "SwapTotal");
  const auto swap_free = parse_meminfo(info, "SwapFree");
  if (swap && swap_free && *swap >= *swap_free) {
    facts.swap_used_bytes = *swap - *swap_free;
  }
  const std::filesystem::path group = "/sys/fs/cgroup";
  for (const auto& [limit_file, used_file] :
       {std::pair{"memory.max", "memory.current"},
        std::pair{
            "memory/memory.limit_in_bytes",
            "memory/memory.usage_in_bytes"}}) {
    const auto limit = parse_memory_max(read_text(group / limit_file));
    if (limit && *limit < facts.memory_bytes) {
      facts.memory_bytes = *limit;
      facts.limit_bytes = *limit;
      facts.limit_used_bytes = parse_memory_max(read_text(group / used_file));
    }
  }
}

/// The hottest zone, in degrees.
std::optional<double> temperature() {
  std::optional<double> hottest;
  std::error_code error;
  for (const auto& zone :
       std::filesystem::directory_iterator("/sys/class/thermal", error)) {
    const std::string text = read_text(zone.path() / "temp");
    if (!text.empty()) {
      const double degrees = std::strtod(text.c_str(), nullptr) / 1000;
      hottest = std::max(hottest.value_or(degrees), degrees);
    }
  }
  return hottest;
}

}  // namespace

void read_system_facts(MachineFacts& facts) {
  facts.system =
      parse_os_release(read_text("/etc/os-release")).value_or("Linux");
  read_memory(facts);
  facts.pressure_percent = parse_pressure(read_text("/proc/pressure/memory"));
  facts.temperature_celsius = temperature();
  facts.frequency_hz = parse_cpuinfo_hertz(read_text("/proc/cpuinfo"));
}

#endif

MachineFacts machine_facts() {
  MachineFacts facts;
  facts.cpu = cpu_name();
  facts.usable_cores = usable_cores();
  facts.all_cores =
      std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  double loads[1] = {};
  if (::getloadavg(loads, 1) == 1) {
    facts.load_average = loads[0];
  }
  read_system_facts(facts);
  return facts;
}

}  // namespace roofline
