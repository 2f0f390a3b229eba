#include "roofline/cli/thread_notice.h"

#include <fmt/format.h>

#include "roofline/base/thread_pool.h"
#include "roofline/model/device.h"

namespace roofline::cli {

std::string thread_notice(std::optional<int> threads, DeviceChoice device) {
  const int cores = ThreadPool::default_threads();
  if (threads.value_or(0) <= cores || runs_on_gpu(device)) {
    return "";
  }
  return fmt::format(
      "roofline: {} threads share {} core{} and wait for each other, which is "
      "slow; --threads {} gives each a core\n",
      *threads,
      cores,
      cores == 1 ? "" : "s",
      cores);
}

}  // namespace roofline::cli
