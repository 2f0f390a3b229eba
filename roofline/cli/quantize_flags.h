// The options of `roofline quantize` that say which formats and which method,
// as values.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "roofline/quantize/plan_formats.h"
#include "roofline/quantize/quantize.h"
#include "roofline/weights/checkpoint.h"

namespace roofline::cli {

class App;

struct QuantizeFlags {
  std::string mode = "affine", recipe_name, method = "plain";
  std::string calibration, quality_text;  ///< files; empty: the bundled texts
  std::optional<int> bits, group_size;
  std::optional<std::string> dtype;
  std::optional<double> target_bpw;
  std::vector<std::string> rules;
  int sensitivity_tokens = 512;
  int calibration_tokens = 8192;
  int window = 512;
  int quality_tokens = 4096;
  std::string dwq_start = "gptq";
  int dwq_steps = 120, dwq_tokens = 32768, dwq_batch = 1024;
  double dwq_rate = 2e-3, dwq_minutes = 0;
  bool dwq_norms = false;

  void declare(App& app);
  /// Throws UserError for values that can't be.
  void check() const;
  QuantizeMethod quantize_method() const;
  /// Of dwq: where it starts, and how it goes on, without its windows.
  QuantizeMethod start_method() const;
  DistillOptions distill_options() const;
  /// The source's type where --dtype names none. Throws UserError.
  Encoding scale_type(const Checkpoint& checkpoint) const;
  /// The format of what no rule names. Throws UserError.
  MatrixFormat fallback() const;
  /// What --target-bpw chooses among: all bits, in all groups where
  /// --group-size names none.
  std::vector<MatrixFormat> candidates() const;
  /// From the fallback, the recipe and the rules. Throws UserError.
  FormatPlan make_plan(const Checkpoint& checkpoint) const;

 private:
  void declare_formats(App& app);
  void declare_calibration(App& app);
  void declare_distillation(App& app);
};

/// "name (what); …": for the help.
std::string recipe_lines();

}  // namespace roofline::cli
