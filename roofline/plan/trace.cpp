#include "roofline/plan/trace.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <mutex>
#include <thread>

#include <mlx/memory.h>
#include <nlohmann/json.hpp>

#include "roofline/base/clock.h"
#include "roofline/base/memory.h"

namespace roofline {

namespace {

constexpr auto kSampleEvery = std::chrono::milliseconds(5);

class Recorder {
 public:
  ~Recorder() { stop(); }

  void start(double seconds_before) {
    const std::lock_guard control(control_mutex_);
    stop();
    {
      const std::lock_guard lock(mutex_);
      trace_ = {};
      begin_ =
          Clock::now() - std::chrono::duration_cast<Clock::duration>(
                             std::chrono::duration<double>(seconds_before));
    }
    kv_bytes_ = 0;
    running_ = true;
    thread_ = std::thread([this] { sample(); });
  }

  MemoryTrace finish() {
    const std::lock_guard control(control_mutex_);
    stop();
    const std::lock_guard lock(mutex_);
    return trace_;
  }

  void add(const std::string& name, double start, const std::string& category) {
    const std::lock_guard lock(mutex_);
    if (running_) {
      trace_.spans.push_back({name, start, since_begin() - start, category});
    }
  }

  void add(
      const std::string& name,
      Clock::time_point begin,
      Clock::time_point end,
      const std::string& category) {
    const std::lock_guard lock(mutex_);
    if (running_) {
      const double start = seconds_between(begin_, begin);
      trace_.spans.push_back(
          {name, start, seconds_between(begin, end), category});
    }
  }

  double seconds() {
    const std::lock_guard lock(mutex_);
    return since_begin();
  }

  void set_kv_bytes(std::uint64_t bytes) { kv_bytes_ = bytes; }

 private:
  double since_begin() const { return seconds_since(begin_); }

  void stop() {
    running_ = false;
    if (thread_.joinable()) {
      thread_.join();
    }
  }

  void sample() {
    do {
      MemorySample sample;
      sample.resident_bytes = resident_bytes();
      sample.file_bytes = resident_file_bytes();
      sample.kv_bytes = kv_bytes_;
      sample.mlx_active_bytes = mlx::core::get_active_memory();
      sample.mlx_cache_bytes = mlx::core::get_cache_memory();
      {
        const std::lock_guard lock(mutex_);
        sample.at_seconds = since_begin();
        trace_.samples.push_back(sample);
      }
      std::this_thread::sleep_for(kSampleEvery);
    } while (running_);
  }

  std::mutex control_mutex_;  // who starts and stops
  std::mutex mutex_;          // what is traced
  MemoryTrace trace_;
  Clock::time_point begin_ = Clock::now();
  std::atomic<bool> running_ = false;
  std::atomic<std::uint64_t> kv_bytes_ = 0;
  std::thread thread_;
};

Recorder& recorder() {
  static Recorder instance;
  return instance;
}

std::uint64_t less(std::uint64_t whole, std::uint64_t part) {
  return whole > part ? whole - part : 0;
}

/// In the format's microseconds, to the nanosecond.
double micros(double seconds) {
  return std::round(seconds * 1e9) / 1e3;
}

nlohmann::ordered_json name_event(const char* what, const char* name) {
  return {
      {"name", what},
      {"ph", "M"},
      {"pid", 1},
      {"tid", 1},
      {"args", {{"name", name}}}};
}

nlohmann::ordered_json counter_event(
    const std::string& name,
    double at_seconds,
    nlohmann::ordered_json values) {
  return {
      {"name", name},
      {"ph", "C"},
      {"ts", micros(at_seconds)},
      {"pid", 1},
      {"args", std::move(values)}};
}

}  // namespace

std::uint64_t MemorySample::other_bytes() const {
  return less(resident_bytes, file_bytes + mlx_active_bytes + mlx_cache_bytes);
}

MemorySample MemoryTrace::peak() const {
  MemorySample most;
  for (const MemorySample& sample : samples) {
    const auto raise = [&](std::uint64_t MemorySample::*field) {
      most.*field = std::max(most.*field, sample.*field);
    };
    raise(&MemorySample::resident_bytes);
    raise(&MemorySample::file_bytes);
    raise(&MemorySample::kv_bytes);
    raise(&MemorySample::mlx_active_bytes);
    raise(&MemorySample::mlx_cache_bytes);
  }
  return most;
}

void enable_memory_trace(double seconds_before) {
  recorder().start(seconds_before);
}

MemoryTrace get_memory_trace() {
  return recorder().finish();
}

void trace_span(
    const std::string& name,
    double start_seconds,
    const std::string& category) {
  recorder().add(name, start_seconds, category);
}

void trace_span_between(
    const std::string& name,
    Clock::time_point begin,
    Clock::time_point end,
    const std::string& category) {
  recorder().add(name, begin, end, category);
}

void trace_kv_bytes(std::uint64_t bytes) {
  recorder().set_kv_bytes(bytes);
}

double trace_seconds() {
  return recorder().seconds();
}

std::string trace_json(const MemoryTrace& trace) {
  auto events = nlohmann::ordered_json::array(
      {name_event("process_name", "roofline"),
       name_event("thread_name", "run")});
  for (const TraceSpan& span : trace.spans) {
    events.push_back(
        {{"name", span.name},
         {"cat", span.category},
         {"ph", "X"},
         {"ts", micros(span.start_seconds)},
         {"dur", micros(span.seconds)},
         {"pid", 1},
         {"tid", 1}});
  }
  for (const MemorySample& sample : trace.samples) {
    events.push_back(counter_event(
        "memory bytes",
        sample.at_seconds,
        {{"weights, mapped", sample.file_bytes},
         {"KV cache", sample.kv_bytes},
         {"MLX active", less(sample.mlx_active_bytes, sample.kv_bytes)},
         {"MLX cache", sample.mlx_cache_bytes},
         {"other", sample.other_bytes()}}));
  }
  for (const TraceCounter& counter : trace.counters) {
    nlohmann::ordered_json values;
    for (const auto& [name, value] : counter.values) {
      values[name] = value;
    }
    events.push_back(
        counter_event(counter.name, counter.at_seconds, std::move(values)));
  }
  nlohmann::ordered_json out;
  out["traceEvents"] = std::move(events);
  return out.dump() + "\n";
}

}  // namespace roofline
