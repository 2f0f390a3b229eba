#include "roofline/cli/quantize_report.h"

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "roofline/cli/evaluate_report.h"
#include "roofline/cli/output.h"

namespace roofline::cli {

namespace {

/// How many matrices have each format.
std::map<std::string, int> format_counts(const FormatPlan& plan) {
  std::map<std::string, int> counts;
  for (const auto& [name, format] : plan.formats) {
    ++counts[format.text()];
  }
  return counts;
}

/// Experts that a Hugging Face folder holds by columns.
bool any_turned(const std::vector<std::string>& names) {
  return std::any_of(names.begin(), names.end(), [](const std::string& name) {
    return name.find(".transposed.") != std::string::npos;
  });
}

}  // namespace

std::string QuantizeResult::text() const {
  std::string formats;
  for (const auto& [format, count] : format_counts(plan)) {
    formats += fmt::format(
        "{}{}: {} matrices",
        formats.empty() ? "" : ", ",
        format,
        count);
  }
  std::string out = fmt::format(
      "{}\n"
      "size           {} ({:.3f} bits per weight) from {} ({:.3f})\n"
      "method         {}; {}\n",
      target,
      format_bytes(static_cast<double>(size.bytes)),
      size.bits_per_weight(),
      format_bytes(static_cast<double>(source_size.bytes)),
      source_size.bits_per_weight(),
      method,
      formats);
  if (!plan.unfit.empty()) {
    out += fmt::format(
        "kept as floats {}{}: the columns are no whole groups, or the layout "
        "stores them otherwise\n",
        plan.unfit.front(),
        plan.unfit.size() > 1
            ? fmt::format(" and {} more", plan.unfit.size() - 1)
            : "");
    if (any_turned(plan.unfit)) {
      out +=
          "               MLX's layout has them by rows: `roofline convert "
          "--hf-path … --mlx-path …` first\n";
    }
  }
  if (distilled) {
    out += fmt::format(
        "distilled      {} steps in {:.0f} s; on text held out KL {:.4f} "
        "before, {:.4f} after\n",
        distilled->steps,
        distilled->seconds,
        distilled->kl_before,
        distilled->kl_after);
  }
  if (quality && by_chance) {
    out +=
        "text           token ids drawn by chance, for want of a tokenizer\n";
  }
  out += quality ? quality_lines(*quality) : "quality        not measured\n";
  if (!unmeasured.empty()) {
    out += unmeasured + "\n";
  }
  return out + fmt::format(
                   "took           {:.1f} s to quantize, {:.1f} s with the "
                   "comparison; peak {}, predicted {}\n",
                   quantize_seconds,
                   seconds,
                   format_bytes(static_cast<double>(peak_bytes)),
                   format_bytes(static_cast<double>(predicted_bytes)));
}

nlohmann::ordered_json QuantizeResult::json() const {
  nlohmann::ordered_json out = {
      {"source", source},
      {"target", target},
      {"method", method},
      {"source_bytes", source_size.bytes},
      {"bytes", size.bytes},
      {"bits_per_weight", size.bits_per_weight()},
      {"formats", format_counts(plan)},
      {"kept_as_floats", plan.unfit}};
  if (distilled) {
    out["distillation"] = {
        {"steps", distilled->steps},
        {"seconds", distilled->seconds},
        {"kl_before", distilled->kl_before},
        {"kl_after", distilled->kl_after}};
  }
  if (quality) {
    out["quality"] = quality_json(*quality, /* compared = */ true);
    out["quality"]["ids_by_chance"] = by_chance;
  }
  if (!unmeasured.empty()) {
    out["unmeasured"] = unmeasured;
  }
  out["quantize_seconds"] = quantize_seconds;
  out["seconds"] = seconds;
  out["peak_bytes"] = peak_bytes;
  out["predicted_peak_bytes"] = predicted_bytes;
  return out;
}

}  // namespace roofline::cli
