#include "roofline/cli/slow_start.h"

#include <unistd.h>

#include <condition_variable>
#include <mutex>
#include <utility>

#include <mlx/device.h>

#include "roofline/cli/output.h"

namespace roofline::cli {

namespace {

constexpr std::chrono::seconds kPatience{4};

// Known only once loading has picked the device.
std::string_view reason() {
  return mlx::core::default_device() == mlx::core::Device::gpu
             ? "Compiling kernels for this GPU: the first start takes up to "
               "two "
               "minutes, later ones seconds.\n"
             : "Loading still: the first start of a model repacks its weights, "
               "later "
               "ones don't.\n";
}

}  // namespace

SlowStart::SlowStart()
    : SlowStart(
          isatty(STDERR_FILENO) == 1 ? Write(write_notice) : Write(),
          kPatience) {}

SlowStart::SlowStart(Write write, std::chrono::milliseconds patience) {
  if (!write) {
    return;
  }
  waiting_ = std::jthread(
      [write = std::move(write), patience](const std::stop_token& stop) {
        std::mutex mutex;
        std::condition_variable_any ended;
        std::unique_lock lock(mutex);
        ended.wait_for(lock, stop, patience, [] { return false; });
        if (!stop.stop_requested()) {
          write(reason());
        }
      });
}

}  // namespace roofline::cli
