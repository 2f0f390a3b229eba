// The options of `roofline optimize`.
#pragma once

#include <string>

#include "roofline/cli/options.h"
#include "roofline/plan/optimize.h"

namespace roofline::cli {

class App;

struct OptimizeFlags {
  std::string model;
  std::string device = "auto";
  std::string goal = "speed";
  std::string max_memory;  ///< empty: what the system can spare
  double min_quality = 0.95;
  double budget_seconds = OptimizeOptions().budget_seconds;
  Workload work;
  std::string prompt_file;
  std::string draft_model;  ///< tried where a text is answered; empty: none
  SamplingFlags sampling;
  bool quant = false;
  bool params = false;
  std::string out;
  std::string plot;
  bool apply = false;
  bool json = false;

  void declare(App& app);

 private:
  void declare_search(App& app);
  void declare_output(App& app);
};

}  // namespace roofline::cli
