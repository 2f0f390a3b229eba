#include "roofline/base/core_count.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <system_error>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif

namespace roofline {

namespace {

int affinity_cores() {
#if defined(__linux__)
  // 8192 processors; a fixed cpu_set_t holds 1024 and fails beyond.
  constexpr int kMost = 8192;
  cpu_set_t* set = CPU_ALLOC(kMost);
  if (set != nullptr) {
    const std::size_t size = CPU_ALLOC_SIZE(kMost);
    const int count =
        ::sched_getaffinity(0, size, set) == 0 ? CPU_COUNT_S(size, set) : 0;
    CPU_FREE(set);
    if (count > 0) {
      return count;
    }
  }
#endif
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

void keep_lower(std::optional<double>& lowest, std::optional<double> quota) {
  if (quota && (!lowest || *quota < *lowest)) {
    lowest = quota;
  }
}

std::optional<double> v1_quota(const std::filesystem::path& folder) {
  const std::string quota = read_file(folder / "cpu.cfs_quota_us");
  const std::string period = read_file(folder / "cpu.cfs_period_us");
  if (quota.empty() || period.empty()) {
    return std::nullopt;
  }
  return parse_cpu_max(quota + " " + period);
}

/// The lowest quota from a group up to the root of the hierarchy.
template <class Read>
std::optional<double> lowest_quota(
    const std::filesystem::path& root,
    const std::string& group,
    const Read& read) {
  std::optional<double> lowest;
  std::filesystem::path at = std::filesystem::path(group).relative_path();
  while (!at.empty()) {
    keep_lower(lowest, read(root / at));
    at = at.parent_path();
  }
  // Inside a container the group's own folder is mounted as the root.
  keep_lower(lowest, read(root));
  return lowest;
}

std::optional<double> cgroup_quota() {
  std::optional<double> lowest;
  std::ifstream groups("/proc/self/cgroup");
  std::string line;  // "0::/a/b" (v2) or "4:cpu,cpuacct:/a/b" (v1)
  while (std::getline(groups, line)) {
    const auto first = line.find(':');
    const auto second =
        first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) {
      continue;
    }
    // "," around the list: "cpu" must not be found in "cpuset".
    std::string controllers(",");
    controllers.append(line, first + 1, second - first - 1).append(",");
    const std::string group = line.substr(second + 1);
    if (controllers == ",,") {
      keep_lower(
          lowest,
          lowest_quota("/sys/fs/cgroup", group, [](const auto& folder) {
            return parse_cpu_max(read_file(folder / "cpu.max"));
          }));
    } else if (controllers.find(",cpu,") != std::string::npos) {
      keep_lower(lowest, lowest_quota("/sys/fs/cgroup/cpu", group, v1_quota));
    }
  }
  return lowest;
}

}  // namespace

std::optional<double> parse_cpu_max(std::string_view text) {
  const std::string copy(text);
  char* end = nullptr;
  const double quota = std::strtod(copy.c_str(), &end);
  if (end == copy.c_str()) {
    return std::nullopt;
  }
  const char* rest = end;
  const double period = std::strtod(rest, &end);
  if (end == rest || !(quota > 0) || !(period > 0)) {
    return std::nullopt;
  }
  return quota / period;
}

int usable_cores() {
  int cores = affinity_cores();
  if (const auto quota = cgroup_quota()) {
    cores = std::min(cores, static_cast<int>(std::ceil(*quota)));
  }
  return std::max(1, cores);
}

double waited_share() {
  namespace fs = std::filesystem;
  double ran = 0;
  double waited = 0;
  std::error_code error;
  for (fs::directory_iterator task("/proc/self/task", error), end;
       !error && task != end;
       task.increment(error)) {
    // Nanoseconds on a core, nanoseconds that it waited for one.
    std::istringstream text(read_file(task->path() / "schedstat"));
    double on = 0;
    double off = 0;
    if (text >> on >> off) {
      ran += on;
      waited += off;
    }
  }
  return waited > 0 ? waited / (ran + waited) : 0;
}

}  // namespace roofline
