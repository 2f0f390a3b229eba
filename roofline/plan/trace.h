// A run's trace: spans of its phases and samples of its memory, in Chrome's
// trace format for Perfetto and for report/timeline.h.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace roofline {

struct TraceSpan {
  std::string name;
  double start_seconds = 0;  ///< from enable_memory_trace()
  double seconds = 0;
};

struct MemorySample {
  double at_seconds = 0;
  std::uint64_t resident_bytes = 0;
  std::uint64_t mlx_active_bytes = 0;
  std::uint64_t mlx_cache_bytes = 0;
};

struct MemoryTrace {
  std::vector<TraceSpan> spans;
  std::vector<MemorySample> samples;
};

/// Forgets what was traced and samples memory on a thread of its own, every
/// few milliseconds, until get_memory_trace().
void enable_memory_trace();
/// Ends the sampling and returns all that was traced.
MemoryTrace get_memory_trace();
/// Adds a span from `start_seconds` until now.
void trace_span(const std::string& name, double start_seconds);
/// Seconds since enable_memory_trace().
double trace_seconds();

/// An object with traceEvents.
std::string trace_json(const MemoryTrace& trace);

}  // namespace roofline
