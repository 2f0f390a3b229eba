// A sentence on the terminal when a model takes long to become ready.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string_view>
#include <thread>

namespace roofline::cli {

/// While it lives, waits for `patience` and then says once why the first start
/// takes longer than later ones: on a GPU kernels are compiled, on a CPU
/// weights are repacked. Silent where standard error isn't a terminal.
class SlowStart {
 public:
  using Write = std::function<void(std::string_view)>;
  SlowStart();
  /// write: where the sentence goes; empty: nowhere, and no thread is made.
  SlowStart(Write write, std::chrono::milliseconds patience);
  ~SlowStart();
  SlowStart(const SlowStart&) = delete;
  SlowStart& operator=(const SlowStart&) = delete;

 private:
  std::mutex mutex_;
  std::condition_variable ended_;
  bool ready_ = false;
  std::thread waiting_;  ///< libc++ 14 has no jthread
};

}  // namespace roofline::cli
