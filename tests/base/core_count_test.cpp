#include "roofline/base/core_count.h"

#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#include <time.h>
#endif

namespace roofline {
namespace {

#if defined(__linux__)
double thread_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) +
         static_cast<double>(now.tv_nsec) * 1e-9;
}

TEST(WaitedShare, GrowsWhereTwoThreadsHaveOneCore) {
  if (!std::filesystem::exists("/proc/self/task/self/schedstat") &&
      !std::filesystem::exists("/proc/self/schedstat")) {
    GTEST_SKIP() << "This kernel doesn't tell who waited";
  }
  std::atomic<int> done = 0;
  std::atomic<bool> stop = false;
  const auto spin = [&](int core) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    ::sched_setaffinity(0, sizeof(set), &set);
    const double until = thread_seconds() + 0.1;
    while (thread_seconds() < until) {
    }
    ++done;
    // Threads that ended aren't counted.
    while (!stop) {
      std::this_thread::yield();
    }
  };
  const int core = ::sched_getcpu();
  std::thread one(spin, core);
  std::thread other(spin, core);
  while (done < 2) {
    std::this_thread::yield();
  }
  const double share = waited_share();
  stop = true;
  one.join();
  other.join();
  // Half of what two threads want of one core, less what ran before.
  EXPECT_GT(share, 0.1);
  EXPECT_LT(share, 1);
}
#endif

}  // namespace
}  // namespace roofline
