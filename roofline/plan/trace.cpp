#include "roofline/plan/trace.h"

#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>

#include <mlx/memory.h>
#include <nlohmann/json.hpp>

#include "roofline/base/memory.h"

namespace roofline {

namespace {

using Clock = std::chrono::steady_clock;

class Recorder {
 public:
  ~Recorder() { stop(); }

  void start() {
    stop();
    trace_ = {};
    begin_ = Clock::now();
    running_ = true;
    thread_ = std::thread([this] { sample(); });
  }

  MemoryTrace finish() {
    stop();
    return trace_;
  }

  void add(const std::string& name, double start) {
    const std::lock_guard lock(mutex_);
    trace_.spans.push_back({name, start, seconds() - start});
  }

  double seconds() const {
    return std::chrono::duration<double>(Clock::now() - begin_).count();
  }

 private:
  void stop() {
    running_ = false;
    if (thread_.joinable()) {
      thread_.join();
    }
  }

  void sample() {
    while (running_) {
      const MemorySample sample = {
          seconds(),
          resident_bytes(),
          mlx::core::get_active_memory(),
          mlx::core::get_cache_memory()};
      {
        const std::lock_guard lock(mutex_);
        trace_.samples.push_back(sample);
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }

  MemoryTrace trace_;
  Clock::time_point begin_ = Clock::now();
  std::atomic<bool> running_ = false;
  std::mutex mutex_;
  std::thread thread_;
};

Recorder& recorder() {
  static Recorder instance;
  return instance;
}

}  // namespace

void enable_memory_trace() {
  recorder().start();
}

MemoryTrace get_memory_trace() {
  return recorder().finish();
}

void trace_span(const std::string& name, double start_seconds) {
  recorder().add(name, start_seconds);
}

double trace_seconds() {
  return recorder().seconds();
}

std::string trace_json(const MemoryTrace& trace) {
  auto events = nlohmann::ordered_json::array();
  for (const TraceSpan& span : trace.spans) {
    events.push_back(
        {{"name", span.name},
         {"cat", "phase"},
         {"ph", "X"},
         {"ts", span.start_seconds * 1e6},
         {"dur", span.seconds * 1e6},
         {"pid", 1},
         {"tid", 1}});
  }
  for (const MemorySample& sample : trace.samples) {
    events.push_back(
        {{"name", "memory bytes"},
         {"ph", "C"},
         {"ts", sample.at_seconds * 1e6},
         {"pid", 1},
         {"args",
          {{"resident", sample.resident_bytes},
           {"MLX active", sample.mlx_active_bytes},
           {"MLX cache", sample.mlx_cache_bytes}}}});
  }
  const nlohmann::ordered_json out = {{"traceEvents", std::move(events)}};
  return out.dump() + "\n";
}

}  // namespace roofline
