#include "roofline/cli/startup_trace.h"

#include <algorithm>
#include <ctime>
#include <fstream>
#include <utility>

#include <fmt/format.h>

#if defined(__linux__)
#include <unistd.h>

#include "roofline/base/clock.h"
#endif

namespace roofline::cli {

namespace {

#if defined(__linux__)
double clock_seconds(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) +
         1e-9 * static_cast<double>(now.tv_nsec);
}

/// Since the system started, in its clock ticks (field 22 of proc(5)'s stat);
/// negative when it won't tell.
double start_ticks() {
  std::ifstream file("/proc/self/stat");
  std::string line;
  std::getline(file, line);
  // The second field is a name in brackets, which may hold spaces.
  std::size_t at = line.rfind(')');
  constexpr int kFieldsBehind = 20;
  for (int i = 0; i < kFieldsBehind && at != line.npos; ++i) {
    at = line.find(' ', at + 1);
  }
  return at == line.npos ? -1.0 : std::stod(line.substr(at));
}

/// What the process took before this was called. The system tells its start in
/// ticks of 10 ms; within one, the processor time used so far decides.
double seconds_before_main() {
  const double used = clock_seconds(CLOCK_PROCESS_CPUTIME_ID);
  const double ticks = start_ticks();
  const auto per_second = static_cast<double>(::sysconf(_SC_CLK_TCK));
  if (ticks < 0 || per_second <= 0) {
    return used;
  }
  const double most = clock_seconds(CLOCK_BOOTTIME) - ticks / per_second;
  return std::clamp(used, std::max(0.0, most - 1 / per_second), most);
}
#else
double seconds_before_main() {
  return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}
#endif

struct ProcessStart {
  double before_main = seconds_before_main();
  Clock::time_point main = Clock::now();
};

// Made before main(), when all libraries are loaded.
const ProcessStart process_start;

}  // namespace

double process_seconds() {
  return process_start.before_main + seconds_since(process_start.main);
}

StartupTrace::StartupTrace() : last_(process_start.main) {
  parts_.push_back({"program and libraries", process_start.before_main});
}

void StartupTrace::lap(std::string name) {
  const auto now = Clock::now();
  parts_.push_back({std::move(name), seconds_between(last_, now)});
  last_ = now;
}

void StartupTrace::beside(std::string name, double seconds) {
  parts_.push_back({std::move(name), seconds, true});
}

void StartupTrace::finish(const GenerateStats& stats) {
  if (!stats.first_token_at) {
    return;
  }
  const auto until = *stats.first_token_at;
  total_ =
      process_start.before_main + seconds_between(process_start.main, until);
  // What the answer took before its clock ran: a new cache, checks.
  const double rest = seconds_between(last_, until) - stats.first_token_seconds;
  parts_.push_back({"session", std::max(0.0, rest)});
  parts_.push_back(
      {fmt::format(
           "prefill of {} tokens",
           stats.prompt_tokens - stats.cached_tokens - stats.dropped_tokens),
       stats.prefill_seconds});
  if (stats.draft_prefill_seconds > 0) {
    parts_.push_back(
        {"prefill of the draft model", stats.draft_prefill_seconds});
  }
  parts_.push_back(
      {"drawing a token",
       stats.first_token_seconds - stats.prefill_seconds -
           stats.draft_prefill_seconds});
  last_ = until;
}

std::string StartupTrace::text() const {
  std::string text = "start to first token\n";
  for (const Part& part : parts_) {
    text += fmt::format(
        "  {:<32}{:>9.1f} ms{}\n",
        part.name,
        1e3 * part.seconds,
        part.beside ? "  (beside)" : "");
  }
  text += total_ > 0
              ? fmt::format("  {:<32}{:>9.1f} ms\n", "total", 1e3 * total_)
              : "  no token was drawn\n";
  return text;
}

nlohmann::ordered_json StartupTrace::json() const {
  auto parts = nlohmann::ordered_json::array();
  for (const Part& part : parts_) {
    parts.push_back(
        {{"part", part.name},
         {"seconds", part.seconds},
         {"beside", part.beside}});
  }
  return {{"seconds", total_}, {"parts", std::move(parts)}};
}

}  // namespace roofline::cli
