// Every CPU kernel at a shape of a real model, as a share of the roof that
// bounds it: the memory's bandwidth, or the arithmetic peak of the same
// instruction set, measured in turn with it. One JSON object with all readings
// on standard output, in bytes or operations a second; bench/kernels_page.py
// runs it for each instruction set and makes docs/kernels.md of it.
// Usage: kernel_roofs [rounds [part of a name]]; ROOFLINE_ISA forces a set.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "kernel_cases.h"
#include "roofline/base/cpu_features.h"
#include "roofline/base/thread_pool.h"
#include "roofline/plan/bandwidth.h"
#include "roofline/plan/peak.h"

namespace roofline::bench {
namespace {

using Clock = std::chrono::steady_clock;

/// A reading shorter than this says more about the clock than the kernel.
constexpr double kLeastSeconds = 0.02;

double processor_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * now.tv_nsec;
}

struct Reading {
  double seconds = 0;
  /// Of the time that all threads together could have had.
  double processor_share = 0;
};

Reading read(const KernelCase& each) {
  int runs = 0;
  double seconds = 0;
  const auto start = Clock::now();
  const double processor = processor_seconds();
  do {
    each.run();
    ++runs;
    seconds = std::chrono::duration<double>(Clock::now() - start).count();
  } while (seconds < kLeastSeconds);
  const double most = seconds * ThreadPool::global().threads();
  return {seconds / runs, (processor_seconds() - processor) / most};
}

double roof_of(Roof roof) {
  ThreadPool& pool = ThreadPool::global();
  switch (roof) {
    case Roof::bandwidth:
      return measure_read_bandwidth(pool).bytes_per_second;
    case Roof::int8:
      return measure_peak_operations(pool, PeakKind::int8);
    case Roof::bfloat16:
      return measure_peak_operations(pool, PeakKind::bfloat16);
    case Roof::float32:
      break;
  }
  return measure_peak_operations(pool, PeakKind::float32);
}

const char* name_of(Roof roof) {
  switch (roof) {
    case Roof::bandwidth:
      return "bandwidth";
    case Roof::int8:
      return "int8";
    case Roof::bfloat16:
      return "bfloat16";
    case Roof::float32:
      break;
  }
  return "float32";
}

/// The kernel and its roof in turn.
nlohmann::json measure(const CaseMaker& maker, int rounds) {
  const KernelCase each = maker.make();
  each.run();
  const double amount =
      maker.roof == Roof::bandwidth ? each.bytes : each.operations;
  std::vector<double> rates;
  std::vector<double> roofs;
  std::vector<double> processor;
  for (int round = 0; round < rounds; ++round) {
    const Reading reading = read(each);
    rates.push_back(amount / reading.seconds);
    processor.push_back(reading.processor_share);
    roofs.push_back(roof_of(maker.roof));
  }
  return {
      {"name", maker.name},
      {"shape", maker.shape},
      {"roof", name_of(maker.roof)},
      {"bytes", each.bytes},
      {"operations", each.operations},
      {"processor", processor},
      {"rates", rates},
      {"roofs", roofs}};
}

}  // namespace
}  // namespace roofline::bench

int main(int argc, char** argv) {
  using namespace roofline;
  const int rounds = argc > 1 ? std::max(1, std::atoi(argv[1])) : 5;
  const std::string part = argc > 2 ? argv[2] : "";
  nlohmann::json results = nlohmann::json::array();
  for (const bench::CaseMaker& maker : bench::kernel_cases()) {
    if (maker.name.find(part) == std::string::npos) {
      continue;
    }
    std::fprintf(stderr, "%s\n", maker.name.c_str());
    results.push_back(bench::measure(maker, rounds));
  }
  const nlohmann::json out = {
      {"cpu", cpu_name()},
      {"isa", isa_name(active_isa())},
      {"threads", roofline::ThreadPool::global().threads()},
      {"rounds", rounds},
      {"kernels", results}};
  std::printf("%s\n", out.dump(1).c_str());
  return 0;
}
