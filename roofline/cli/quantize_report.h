// What `roofline quantize` made: size, quality against the source, time and
// memory, as text and as JSON.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "roofline/evaluate/model_size.h"
#include "roofline/evaluate/quality.h"
#include "roofline/quantize/distill.h"
#include "roofline/quantize/plan_formats.h"

namespace roofline::cli {

struct QuantizeResult {
  std::string source, target, method;
  ModelSize source_size, size;
  FormatPlan plan;
  std::optional<QualityReport> quality;  ///< absent: not measured
  std::optional<DistillResult> distilled;
  bool by_chance = false;  ///< compared on ids that no text has
  std::string unmeasured;  ///< why the result couldn't be read again
  double quantize_seconds = 0;
  double seconds = 0;  ///< the comparison included
  std::uint64_t predicted_bytes = 0;
  std::size_t peak_bytes = 0;

  std::string text() const;
  nlohmann::ordered_json json() const;
};

}  // namespace roofline::cli
