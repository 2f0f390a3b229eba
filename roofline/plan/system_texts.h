// Reads what Linux says of itself in /proc and /sys. Pure functions over those
// files' texts; machine_facts.h reads the files.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace roofline {

/// /proc/meminfo: "MemTotal:  24588300 kB" → bytes.
std::optional<std::uint64_t> parse_meminfo(
    std::string_view text,
    std::string_view field);

/// A control group's limit in bytes, of version 1 or 2; nullopt for none.
std::optional<std::uint64_t> parse_memory_max(std::string_view text);

/// /proc/pressure/memory: percent of the last 10 s in which some task waited.
std::optional<double> parse_pressure(std::string_view text);

/// /etc/os-release: "Debian GNU/Linux 12 (bookworm)".
std::optional<std::string> parse_os_release(std::string_view text);

/// /proc/cpuinfo: the fastest core's clock.
std::optional<double> parse_cpuinfo_hertz(std::string_view text);

}  // namespace roofline
