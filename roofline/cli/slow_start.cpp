#include "roofline/cli/slow_start.h"

#include <utility>

#include <mlx/device.h>

#include "roofline/cli/output.h"

namespace roofline::cli {

namespace {

constexpr std::chrono::seconds kPatience{4};

// Known only once loading has picked the device.
std::string_view reason() {
  return mlx::core::default_device() == mlx::core::Device::gpu
             ? "Compiling kernels for this GPU: a first start takes up to two "
               "minutes, later ones seconds.\n"
             : "Loading still: a first start of a model repacks its weights, "
               "later ones don't.\n";
}

}  // namespace

SlowStart::SlowStart() : SlowStart(notice_on_terminal(), kPatience) {}

SlowStart::SlowStart(Write write, std::chrono::milliseconds patience) {
  if (!write) {
    return;
  }
  waiting_ = std::thread([this, write = std::move(write), patience] {
    std::unique_lock lock(mutex_);
    if (!ended_.wait_for(lock, patience, [this] { return ready_; })) {
      write(reason());
    }
  });
}

SlowStart::~SlowStart() {
  {
    const std::lock_guard lock(mutex_);
    ready_ = true;
  }
  ended_.notify_one();
  if (waiting_.joinable()) {
    waiting_.join();
  }
}

}  // namespace roofline::cli
