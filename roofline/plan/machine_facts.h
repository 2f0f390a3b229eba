// Facts of the machine this process runs on, as the system tells them: memory,
// swap, cores, load. Everything is optional where a system won't tell.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace roofline {

struct MachineFacts {
  std::string system;  ///< "Debian GNU/Linux 12", "macOS 15.1"
  std::string cpu;
  int usable_cores = 1;
  int all_cores = 1;
  std::uint64_t memory_bytes = 0;  ///< installed, or the control group's limit
  std::optional<std::uint64_t> available_bytes;
  std::optional<std::uint64_t> swap_used_bytes;
  std::optional<double> load_average;  ///< one minute
  std::optional<double> frequency_hz;
  std::optional<double> temperature_celsius;
  std::optional<double> pressure_percent;  ///< memory stall, Linux PSI avg10
  /// macOS: 1 normal, 2 warning, 4 critical.
  std::optional<int> pressure_level;
  std::uint64_t installed_bytes = 0;
  /// The control group's limit where it is below what is installed, and what
  /// the group holds.
  std::optional<std::uint64_t> limit_bytes;
  std::optional<std::uint64_t> limit_used_bytes;
  bool macos = false;
  bool translated = false;  ///< an x86 program on an Apple chip
};

MachineFacts machine_facts();

/// The part of machine_facts() that only the system tells:
/// machine_facts_apple.cpp on macOS.
void read_system_facts(MachineFacts& facts);

}  // namespace roofline
