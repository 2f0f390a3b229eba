// A sentence on the terminal when a model takes long to become ready.
#pragma once

#include <chrono>
#include <functional>
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

 private:
  std::jthread waiting_;
};

}  // namespace roofline::cli
