// What `roofline profile` says of a run: speeds beside the roof, time by phase
// and by operation, memory by category, power; as text and as JSON.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "roofline/plan/powermetrics.h"
#include "roofline/plan/roof.h"
#include "roofline/plan/trace.h"
#include "roofline/plan/traced_run.h"

namespace roofline::cli {

struct ProfileResult {
  std::string model, device;
  double begin_unix_seconds = 0;
  double load_seconds = 0;
  TracedRun run;
  MemoryTrace trace;
  StepBytes step;        ///< at the answer's middle
  double bandwidth = 0;  ///< bytes a second, measured
  PowerDuring power;
};

double unix_seconds();

/// Adds powermetrics' samples to the trace and the report. Throws UserError
/// when the text holds none.
void join_powermetrics(ProfileResult& result, const std::string& text);

std::string profile_text(const ProfileResult& result);
nlohmann::ordered_json profile_json(const ProfileResult& result);

}  // namespace roofline::cli
