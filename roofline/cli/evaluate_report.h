// What `roofline evaluate` found, as text, as JSON, and as one line about what
// it took.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "roofline/evaluate/choices.h"
#include "roofline/evaluate/model_size.h"
#include "roofline/evaluate/quality.h"
#include "roofline/model/kv_format.h"

namespace roofline::cli {

struct EvaluateReport {
  std::string model;
  ModelSize size;
  bool quantized_at_load = false;  ///< then `size` is the file's, not its own
  KvFormat kv;                     ///< of the model's cache
  std::string text_name;           ///< of the text or the task
  std::string bos;                 ///< "window", "text" or "none"
  WindowOptions windows;
  std::optional<QualityReport> quality;
  std::optional<std::string> reference;
  std::optional<ModelSize> reference_size;
  std::vector<ChoiceQuestion> questions;
  std::optional<ChoiceReport> choices;
  bool stopped = false;  ///< by a signal: the figures are of a part
  double load_seconds = 0;
  double seconds = 0;
  std::size_t peak_bytes = 0;
  std::string device;

  std::string text() const;
  nlohmann::ordered_json json() const;
  std::string truth() const;
};

/// The lines of a comparison with a reference, as in the text.
std::string quality_lines(const QualityReport& quality);
/// The same as JSON.
nlohmann::ordered_json quality_json(
    const QualityReport& quality,
    bool compared);

}  // namespace roofline::cli
