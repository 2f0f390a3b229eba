// How many cores this process may use: the machine's, less what the affinity
// mask and the control group's quota take away.
#pragma once

#include <optional>
#include <string_view>

namespace roofline {

/// At least 1. Quotas are rounded up: 1.5 cores count as 2.
int usable_cores();

/// "150000 100000" (cgroup v2's cpu.max) → 1.5; nullopt for "max …" and for
/// what doesn't parse.
std::optional<double> parse_cpu_max(std::string_view text);

/// Of the time that this process's threads could have run so far, the share
/// that they waited for a core because others had them; 0 where the system
/// doesn't tell (Linux does: /proc/self/task/*/schedstat).
double waited_share();

}  // namespace roofline
