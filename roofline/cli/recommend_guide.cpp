#include "roofline/cli/recommend_text.h"

#include <array>

#include <fmt/format.h>

#include "roofline/base/units.h"
#include "roofline/cli/output.h"
#include "roofline/plan/chips.h"
#include "roofline/report/table.h"
#include "roofline/spec/catalogue.h"

namespace roofline::cli {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::array kGuideExamples = {
    GuideExample{"MacBook Air", "M2", 8, "llama-2-7b", 4},
    GuideExample{"MacBook Pro", "M2 Pro", 16, "llama-2-13b", 4},
    GuideExample{"MacBook Pro", "M2 Pro", 16, "llama-2-7b", 8},
    GuideExample{"Mac Studio", "M1 Ultra", 64, "llama-2-70b", 4},
    GuideExample{"Mac Studio", "M1 Ultra", 64, "llama-2-33b", 8}};
constexpr std::int64_t kGuideContext = 4096;

}  // namespace

std::optional<PlannedModel> catalogued(const char* name) {
  const CatalogueEntry* entry = find_in_catalogue(name);
  if (!entry) {
    return std::nullopt;
  }
  return plan_spec(std::string(entry->name), catalogue_spec(*entry));
}

std::string GuideResult::verdict() const {
  if (fit.holds()) {
    return "holds";
  }
  if (fit.largest_context > 0) {
    return fmt::format("holds only if context ≤ {}", fit.largest_context);
  }
  return fmt::format(
      "does not hold: {} too much",
      size_text(fit.memory.total() - fit.budget_bytes));
}

std::string GuideResult::why() const {
  if (fit.holds()) {
    return "";
  }
  const std::uint64_t weights = fit.memory.of("weights");
  const std::uint64_t kv = fit.memory.of("kv");
  return fmt::format(
      "{} int{} in {} GB: weights {}, KV cache of {} tokens {}, the rest {}; "
      "{} are left to the GPU",
      example.model,
      example.bits,
      example.ram_gib,
      size_text(weights),
      fit.context_tokens,
      size_text(kv),
      size_text(fit.memory.total() - weights - kv),
      size_text(fit.budget_bytes));
}

Json GuideResult::json() const {
  return {
      {"machine", example.machine},
      {"chip", example.chip},
      {"ram_gib", example.ram_gib},
      {"model", example.model},
      {"bits", example.bits},
      {"verdict", verdict()},
      {"why", why()},
      {"context_tokens", fit.context_tokens},
      {"largest_context_tokens", fit.largest_context},
      {"memory_bytes", fit.memory.total()},
      {"budget_bytes", fit.budget_bytes},
      {"decode_tokens_per_second", speed.decode}};
}
std::vector<GuideResult> evaluate_guide(const Hardware* only) {
  std::vector<GuideResult> results;
  for (const GuideExample& example : kGuideExamples) {
    const auto ram = static_cast<std::uint64_t>(example.ram_gib * kGib);
    const Chip& chip = find_chip(example.chip, example.ram_gib);
    const Hardware hardware = hardware_of(chip, ram);
    const auto model = catalogued(example.model);
    const Chip* own = only ? look_up_chip(only->name) : nullptr;
    const bool same = !only || (only->gpu && only->ram_bytes == ram && own &&
                                own->name == chip.name);
    if (!model || !same) {
      continue;
    }
    const WeightFormat format{example.bits, 64};
    GuideResult result;
    result.example = example;
    result.hardware = hardware;
    result.fit = check_fit(*model, format, hardware, kGuideContext);
    InferenceQuestion question;
    question.quantize = format;
    question.gpu = true;
    result.speed = predict_speed(*model, question, 512, hardware.rates);
    results.push_back(std::move(result));
  }
  return results;
}

std::string guide_text(const std::vector<GuideResult>& results) {
  Table table{
      {{"Machine"},
       {"The guide says"},
       {"Takes", Align::right},
       {"GPU may hold", Align::right},
       {"Decode", Align::right},
       {"Verdict"}},
      {}};
  std::string reasons;
  for (const GuideResult& result : results) {
    const GuideExample& example = result.example;
    table.rows.push_back(
        {fmt::format(
             "{} {} {} GB",
             example.machine,
             example.chip,
             example.ram_gib),
         fmt::format("{} int{}", example.model, example.bits),
         size_text(result.fit.memory.total()),
         size_text(result.fit.budget_bytes),
         speed_text(result.speed.decode),
         result.verdict()});
    const std::string why = result.why();
    reasons += why.empty() ? "" : fmt::format("{}.\n", why);
  }
  return fmt::format(
      "The guide's section 6, computed at {} tokens of context; macOS leaves "
      "the GPU 2/3\nof up to 36 GB and 3/4 of more:\n{}{}",
      kGuideContext,
      table_text(table, output_columns()),
      reasons);
}

}  // namespace roofline::cli
