// A run's trace: spans of its phases, samples of its memory by category and
// other counters, in Chrome's trace format for Perfetto and for
// report/timeline.h. One trace a process; safe from any thread.
//
//   enable_memory_trace();
//   … load a model, run it …
//   const MemoryTrace trace = get_memory_trace();
//   trace.peak().resident_bytes;  trace_json(trace);
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "roofline/base/clock.h"

namespace roofline {

struct TraceSpan {
  std::string name;
  double start_seconds = 0;  ///< from the trace's zero
  double seconds = 0;
  std::string category = "phase";
};

struct MemorySample {
  double at_seconds = 0;
  std::uint64_t resident_bytes = 0;
  std::uint64_t file_bytes = 0;        ///< of these, mapped files: weights
  std::uint64_t kv_bytes = 0;          ///< as trace_kv_bytes() said
  std::uint64_t mlx_active_bytes = 0;  ///< the KV cache among them
  std::uint64_t mlx_cache_bytes = 0;
  /// What is resident and none of the above; 0 where MLX's memory isn't
  /// resident memory (a GPU's).
  std::uint64_t other_bytes() const;
};

/// Named values at a time, such as watts.
struct TraceCounter {
  std::string name;
  double at_seconds = 0;
  std::vector<std::pair<std::string, double>> values;
};

struct MemoryTrace {
  std::vector<TraceSpan> spans;
  std::vector<MemorySample> samples;
  std::vector<TraceCounter> counters;

  /// The most of each category, each at its own time.
  MemorySample peak() const;
};

/// Forgets what was traced and samples memory on a thread of its own, every
/// few milliseconds, until get_memory_trace(). Again: begins anew. The trace's
/// zero lies `seconds_before` now, for what was done before.
void enable_memory_trace(double seconds_before = 0);
/// Ends the sampling and returns all that was traced; again: the same. Empty
/// when tracing was never enabled.
MemoryTrace get_memory_trace();
/// Adds a span from `start_seconds` until now. Nothing when not enabled.
void trace_span(
    const std::string& name,
    double start_seconds,
    const std::string& category = "phase");
/// Adds a span between two times.
void trace_span_between(
    const std::string& name,
    Clock::time_point begin,
    Clock::time_point end,
    const std::string& category);
/// How large the KV cache is from now on.
void trace_kv_bytes(std::uint64_t bytes);
/// Seconds since the trace's zero.
double trace_seconds();

/// An object with traceEvents.
std::string trace_json(const MemoryTrace& trace);

}  // namespace roofline
