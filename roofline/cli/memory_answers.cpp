#include "roofline/cli/memory_answers.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/cli/memory_claims.h"
#include "roofline/cli/output.h"
#include "roofline/plan/fit.h"
#include "roofline/report/chart.h"
#include "roofline/report/table.h"
#include "roofline/spec/catalogue.h"

namespace roofline::cli {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kMostModels = 15;
constexpr double kGiga = 1e9;
constexpr int kBarColumns = 72;

std::string bytes_text(std::uint64_t bytes) {
  return format_bytes(static_cast<double>(bytes));
}

double share_of(std::uint64_t part, std::uint64_t whole) {
  return whole == 0 ? 0
                    : static_cast<double>(part) / static_cast<double>(whole);
}

Json prediction_json(const MemoryPrediction& prediction) {
  Json parts = Json::array();
  for (const MemoryPart& part : prediction.parts) {
    parts.push_back(
        {{"name", part.name}, {"kind", part.kind}, {"bytes", part.bytes}});
  }
  return {{"parts", parts}, {"total_bytes", prediction.total()}};
}

Json budget_json(const MemoryBudget& budget) {
  return {
      {"name", budget.name},
      {"ram_bytes", budget.ram_bytes},
      {"budget_bytes", budget.bytes}};
}

std::string room_text(std::uint64_t total, const MemoryBudget& budget) {
  const bool fits = total <= budget.bytes;
  const std::uint64_t off = fits ? budget.bytes - total : total - budget.bytes;
  return fmt::format(
      "{} has {} for a model ({} are left to the system): {} {}.\n",
      budget.name,
      bytes_text(budget.bytes),
      bytes_text(budget.ram_bytes - budget.bytes),
      bytes_text(off),
      fits ? "stay free" : "are missing");
}

std::string parts_text(const MemoryPrediction& prediction) {
  const std::uint64_t total = prediction.total();
  Table table{
      {{"Part"},
       {"Bytes", Align::right},
       {"", Align::right},
       {"Share", Align::right}},
      {}};
  for (const MemoryPart& part : prediction.parts) {
    table.rows.push_back(
        {part.name,
         fmt::format("{}", part.bytes),
         bytes_text(part.bytes),
         fmt::format("{:.1f} %", 100 * share_of(part.bytes, total))});
  }
  table.rows.push_back({});
  table.rows.push_back(
      {"Total", fmt::format("{}", total), bytes_text(total), "100 %"});
  return table_text(table, output_columns());
}

std::string kinds_text(const MemoryPrediction& prediction) {
  std::vector<Bar> bars;
  for (const MemoryPart& part : prediction.parts) {
    const auto same = [&](const Bar& bar) { return bar.name == part.kind; };
    if (std::none_of(bars.begin(), bars.end(), same)) {
      const std::uint64_t bytes = prediction.of(part.kind);
      bars.push_back(
          {part.kind, static_cast<double>(bytes), bytes_text(bytes)});
    }
  }
  return bars_text(bars, std::min(kBarColumns, output_columns()));
}

Json stored_json(const PlannedModel& model) {
  Json parts = Json::array();
  for (const MemoryPart& part : stored_weights(model)) {
    parts.push_back({{"name", part.name}, {"bytes", part.bytes}});
  }
  return {
      {"exact", model.exact},
      {"parts", parts},
      {"bytes", model.weight_bytes()}};
}

/// What the parts don't say.
std::string facts_text(
    const PlannedModel& model,
    const InferenceQuestion& question) {
  std::string text;
  if (model.exact) {
    text += fmt::format(
        "The files hold {} bytes of weights.\n",
        model.weight_bytes());
  }
  const std::uint64_t token = kv_bytes_per_token(model.spec, question);
  if (token > 0) {
    text += fmt::format(
        "A token of context takes {} bytes of KV cache, for which room is made "
        "in steps.\n",
        token);
  }
  const std::int64_t own = model.spec.context_tokens;
  if (own > 0 && question.context_tokens > own) {
    text += fmt::format(
        "The model is made for {} tokens: its answers are poor beyond.\n",
        own);
  }
  return text;
}

/// A catalogue model in the best format in which it fits.
struct FittingModel {
  std::string name;
  double billions = 0;
  std::string format;
  std::int64_t largest_context = 0;
  std::uint64_t bytes = 0;
};

std::optional<FittingModel> fitting(
    const CatalogueEntry& entry,
    const InferenceQuestion& wish,
    const MemoryBudget& budget) {
  const PlannedModel model =
      plan_spec(std::string(entry.name), catalogue_spec(entry));
  InferenceQuestion question = wish;
  if (model.spec.context_tokens > 0) {
    question.context_tokens =
        std::min(wish.context_tokens, model.spec.context_tokens);
  }
  std::vector<WeightFormat> formats = {{16}, {8}, {4}};
  if (wish.quantize) {
    formats = {*wish.quantize};
  }
  for (const WeightFormat& format : formats) {
    question.quantize = format.bits < 16 ? std::optional(format) : std::nullopt;
    const std::uint64_t bytes = predict_inference(model, question).total();
    if (bytes <= budget.bytes) {
      return FittingModel{
          std::string(entry.name),
          static_cast<double>(model.parameters()) / kGiga,
          format.text(),
          largest_context(model, question, budget.bytes),
          bytes};
    }
  }
  return std::nullopt;
}

std::vector<FittingModel> fitting_models(
    const InferenceQuestion& wish,
    const MemoryBudget& budget) {
  std::vector<FittingModel> found;
  for (const CatalogueEntry& entry : catalogue()) {
    if (auto model = fitting(entry, wish, budget)) {
      found.push_back(std::move(*model));
    }
  }
  std::stable_sort(
      found.begin(),
      found.end(),
      [](const FittingModel& a, const FittingModel& b) {
        return a.billions > b.billions;
      });
  return found;
}

Json choice_json(const FitChoice& choice, const PlannedModel& model) {
  return {
      {"format", choice.format_text(model)},
      {"kv_bits", choice.question.kv_bits()},
      {"prefill_step", choice.question.prefill_step},
      {"context_tokens", choice.question.context_tokens},
      {"largest_context_tokens", choice.largest_context},
      {"bytes", choice.bytes},
      {"whole_context", choice.whole}};
}

std::string claim_note(const ClaimResult& result) {
  return result.verdict == Verdict::only_if ? result.condition
                                            : result.difference;
}

std::string needed_text(const Claim& claim, const ClaimResult& result) {
  return claim.kind == ClaimKind::reduction
             ? fmt::format("{:.1f} %", result.needed)
             : fmt::format("{:.1f} GB", result.needed / kGiga);
}

}  // namespace

void tell_prediction(
    const PlannedModel& model,
    const std::string& settings,
    const MemoryPrediction& prediction,
    const MemoryBudget& budget,
    const std::optional<InferenceQuestion>& question,
    bool json) {
  if (json) {
    Json out = {{"model", model.name}, {"settings", settings}};
    if (question) {
      out["context_tokens"] = question->context_tokens;
      out["model_context_tokens"] = model.spec.context_tokens;
      out["kv_bytes_per_token"] = kv_bytes_per_token(model.spec, *question);
      out["stored_weights"] = stored_json(model);
    }
    out.update(prediction_json(prediction));
    out["budget"] = budget_json(budget);
    out["fits"] = prediction.total() <= budget.bytes;
    write_json(out);
    return;
  }
  write_text(fmt::format(
      "{}, {:.2f} billion parameters: {}\n\n{}\n{}\n{}{}",
      model.name,
      static_cast<double>(model.parameters()) / kGiga,
      settings,
      parts_text(prediction),
      kinds_text(prediction),
      question ? facts_text(model, *question) : "",
      room_text(prediction.total(), budget)));
}

void tell_models_that_fit(
    const InferenceQuestion& wish,
    const MemoryBudget& budget,
    bool json) {
  const auto models = fitting_models(wish, budget);
  if (models.empty()) {
    fail<UserError>(
        fmt::format("No known model fits {}", budget.name),
        fmt::format("{} are left to models", bytes_text(budget.bytes)),
        "Name more memory, or a shorter --context");
  }
  Json rows = Json::array();
  Table table{
      {{"Model"},
       {"Parameters", Align::right},
       {"Best format"},
       {"Takes", Align::right},
       {"Left", Align::right},
       {"Context up to", Align::right}},
      {}};
  for (const FittingModel& model : models) {
    rows.push_back(
        {{"model", model.name},
         {"billions", model.billions},
         {"format", model.format},
         {"bytes", model.bytes},
         {"largest_context_tokens", model.largest_context}});
    if (table.rows.size() < kMostModels) {
      table.rows.push_back(
          {model.name,
           fmt::format("{:.1f} B", model.billions),
           model.format,
           bytes_text(model.bytes),
           bytes_text(budget.bytes - model.bytes),
           fmt::format("{}", model.largest_context)});
    }
  }
  if (json) {
    write_json({{"budget", budget_json(budget)}, {"models", rows}});
    return;
  }
  write_text(fmt::format(
      "{} has {} for a model; {} are left to the system. The largest of {} "
      "that fit with {} tokens of context, or as many as the model is made "
      "for:\n\n{}",
      budget.name,
      bytes_text(budget.bytes),
      bytes_text(budget.ram_bytes - budget.bytes),
      models.size(),
      wish.context_tokens,
      table_text(table, output_columns())));
}

void fail_to_fit(
    const PlannedModel& model,
    const InferenceQuestion& question,
    const MemoryBudget& budget) {
  const FitChoice least = smallest_choice(model, question);
  if (least.bytes <= budget.bytes) {
    fail<UserError>(
        fmt::format("No context of {} fits", model.name),
        fmt::format(
            "{} has {} for a model",
            budget.name,
            bytes_text(budget.bytes)),
        "See --fit for settings that do");
  }
  fail<UserError>(
      fmt::format(
          "{} doesn't fit into {}",
          model.name,
          bytes_text(budget.bytes)),
      fmt::format(
          "{} leaves no more to a model; with weights {}, a KV cache in {} and "
          "{} tokens of context it takes {}, which is {} more",
          budget.name,
          least.format_text(model),
          least.question.kv_text(),
          least.question.context_tokens,
          bytes_text(least.bytes),
          bytes_text(least.bytes - budget.bytes)),
      "`roofline memory --ram SIZE` names the models that fit");
}

void tell_settings(
    const PlannedModel& model,
    const InferenceQuestion& wish,
    const MemoryBudget& budget,
    bool json) {
  const auto choices = settings_that_fit(model, wish, budget.bytes);
  if (choices.empty()) {
    fail_to_fit(model, wish, budget);
  }
  if (json) {
    Json rows = Json::array();
    for (const FitChoice& choice : choices) {
      rows.push_back(choice_json(choice, model));
    }
    write_json(
        {{"model", model.name},
         {"budget", budget_json(budget)},
         {"choices", rows}});
    return;
  }
  Table table{
      {{"Weights"},
       {"KV cache"},
       {"Prefill step", Align::right},
       {"Context", Align::right},
       {"Takes", Align::right},
       {"Context up to", Align::right}},
      {}};
  for (const FitChoice& choice : choices) {
    table.rows.push_back(
        {choice.format_text(model),
         choice.question.kv_text(),
         fmt::format("{}", choice.question.prefill_step),
         fmt::format("{}", choice.question.context_tokens),
         bytes_text(choice.bytes),
         fmt::format("{}", choice.largest_context)});
  }
  write_text(fmt::format(
      "{} in {} ({}), best quality first:\n\n{}",
      model.name,
      bytes_text(budget.bytes),
      budget.name,
      table_text(table, output_columns())));
}

void tell_claims(bool json) {
  std::map<std::string, PlannedModel> models;
  Json rows = Json::array();
  Table table{
      {{"§", Align::right},
       {"The guide says"},
       {"Computed", Align::right},
       {"Verdict"},
       {"Condition"}},
      {}};
  for (const Claim& claim : guide_claims()) {
    const std::string name(claim.model);
    if (models.count(name) == 0) {
      const CatalogueEntry* entry = find_in_catalogue(name);
      models.emplace(
          name,
          entry ? plan_spec(name, catalogue_spec(*entry)) : plan_model(name));
    }
    const ClaimResult result = check_claim(claim, models.at(name));
    table.rows.push_back(
        {fmt::format("{}", claim.section),
         std::string(claim.text),
         needed_text(claim, result),
         name_of(result.verdict),
         claim_note(result)});
    rows.push_back(
        {{"section", claim.section},
         {"claim", claim.text},
         {"model", claim.model},
         {"verdict", name_of(result.verdict)},
         {"note", claim_note(result)},
         {"needed", result.needed},
         {"allowed", result.allowed}});
  }
  if (json) {
    write_json({{"claims", rows}});
    return;
  }
  write_text(
      table_text(table, output_columns()) +
      "\nA model may take what macOS leaves to the GPU: 2/3 of up to 36 GiB, "
      "3/4 of more. Inference\nis of one sequence of 4096 tokens; training of "
      "4 sequences of 512 tokens with adamw.\n");
}

void plot_contexts(
    const PlannedModel& model,
    InferenceQuestion question,
    const MemoryBudget& budget,
    const std::filesystem::path& path) {
  constexpr int kSteps = 32;
  const std::int64_t most = std::max<std::int64_t>(question.context_tokens, 2);
  Chart chart;
  chart.kind = ChartKind::stacked;
  chart.title = fmt::format("{}: memory over context", model.name);
  chart.x_title = "context, tokens";
  chart.y_title = "memory, GB";
  std::vector<std::string> order =
      {"weights", "runtime", "transients", "logits", "cache", "state", "kv"};
  for (const std::string& kind : order) {
    ChartSeries series;
    series.name = kind;
    bool any = false;
    for (int i = 0; i <= kSteps; ++i) {
      question.context_tokens = std::max<std::int64_t>(1, most * i / kSteps);
      const auto bytes = predict_inference(model, question).of(kind);
      any = any || bytes > 0;
      ChartPoint point;
      point.x = static_cast<double>(question.context_tokens);
      point.y = static_cast<double>(bytes) / kGiga;
      series.points.push_back(point);
    }
    if (any) {
      chart.series.push_back(std::move(series));
    }
  }
  chart.rules.push_back(
      {static_cast<double>(budget.bytes) / kGiga,
       fmt::format("room on {}", budget.name)});
  write_chart(chart, path);
}

}  // namespace roofline::cli
