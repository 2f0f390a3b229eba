// What `roofline recommend` says, as text and as JSON: a machine, a plan with
// its ready commands, and the guide's example configurations checked. Computes
// nothing but what stands in plan/recommend.h.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "roofline/plan/recommend.h"

namespace roofline::cli {

/// The model of a catalogue name; absent when the catalogue hasn't it.
std::optional<PlannedModel> catalogued(const char* name);

std::string machine_text(const Hardware& hardware);
nlohmann::ordered_json hardware_json(const Hardware& hardware);

/// `use` is the preset's name as well.
std::string run_text(
    const std::string& use,
    const Hardware& hardware,
    const RunPlan& plan);
/// All but the first, as a table.
std::string others_text(const std::vector<RunPlan>& plans);
nlohmann::ordered_json run_json(
    const Hardware& hardware,
    const RunPlan& plan,
    const std::string& preset);

std::string train_text(const Hardware& hardware, const TrainPlan& plan);
nlohmann::ordered_json train_json(
    const Hardware& hardware,
    const TrainPlan& plan);

std::string size_text(double bytes);
std::string size_text(std::uint64_t bytes);
std::string speed_text(double tokens_per_second);

/// An example configuration of the guide's section 6.
struct GuideExample {
  const char* machine;
  const char* chip;
  int ram_gib;
  const char* model;
  int bits;
};
/// One evaluated example of the guide.
struct GuideResult {
  GuideExample example;
  Hardware hardware;
  FitVerdict fit;
  SpeedPrediction speed;

  /// "holds", "holds only if …", "does not hold: … too much"
  std::string verdict() const;
  /// What takes the room where it doesn't hold as stated; else empty.
  std::string why() const;
  nlohmann::ordered_json json() const;
};

/// All examples, or those of this machine.
std::vector<GuideResult> evaluate_guide(const Hardware* only = nullptr);
std::string guide_text(const std::vector<GuideResult>& results);

}  // namespace roofline::cli
