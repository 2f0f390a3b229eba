#include "roofline/plan/recommend.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdlib>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "roofline/base/errors.h"
#include "roofline/base/nearest.h"
#include "roofline/cli/command.h"
#include "roofline/cli/output.h"
#include "roofline/decode/sampling.h"
#include "roofline/plan/chips.h"
#include "roofline/plan/machine.h"
#include "roofline/plan/machine_facts.h"
#include "roofline/report/table.h"
#include "roofline/spec/catalogue.h"

namespace roofline::cli {

namespace {

using Json = nlohmann::ordered_json;

constexpr double kGib = 1024.0 * 1024 * 1024;
constexpr std::size_t kMostOthers = 6;

// Instruction-tuned models that people use today, by catalogue name; those that
// the catalogue of this build doesn't hold are left out.
constexpr std::array kGeneral = {
    "qwen3-0.6b",   "qwen3-1.7b",   "qwen3-4b",      "qwen3-8b",
    "qwen3-14b",    "qwen3-32b",    "qwen3-30b-a3b", "qwen3-235b-a22b",
    "llama-3.2-1b", "llama-3.2-3b", "llama-3.1-8b",  "llama-3.3-70b",
    "gemma-3-1b",   "gemma-3-4b",   "gemma-3-12b",   "gemma-3-27b",
    "phi-4",        "gpt-oss-20b",  "gpt-oss-120b",  "smollm2-135m",
    "smollm2-360m", "smollm2-1.7b"};
constexpr std::array kCoders = {
    "qwen2.5-coder-0.5b",
    "qwen2.5-coder-1.5b",
    "qwen2.5-coder-3b",
    "qwen2.5-coder-7b",
    "qwen2.5-coder-14b",
    "qwen2.5-coder-32b",
    "qwen3-coder-30b-a3b",
    "gpt-oss-20b",
    "gpt-oss-120b"};
// Of the guide.
constexpr std::array kGuideModels = {
    "llama-2-7b",
    "llama-2-13b",
    "llama-2-33b",
    "llama-2-70b"};

struct Use {
  const char* name;
  std::int64_t context_tokens;
  std::int64_t prompt_tokens;
  double least_tokens_per_second;
};
// People read some 6 tokens a second; code is skimmed, and long.
constexpr std::array kUses = {
    Use{"chat", 8192, 1024, 6},
    Use{"code", 16384, 4096, 12},
    Use{"qa", 8192, 2048, 6},
    Use{"creative", 8192, 512, 6},
    Use{"train", 4096, 512, 0}};

/// An example configuration of the guide's section 6.
struct GuideExample {
  const char* machine;
  const char* chip;
  int ram_gib;
  const char* model;
  int bits;
};
constexpr std::array kGuideExamples = {
    GuideExample{"MacBook Air", "M2", 8, "llama-2-7b", 4},
    GuideExample{"MacBook Pro", "M2 Pro", 16, "llama-2-13b", 4},
    GuideExample{"MacBook Pro", "M2 Pro", 16, "llama-2-7b", 8},
    GuideExample{"Mac Studio", "M1 Ultra", 64, "llama-2-70b", 4},
    GuideExample{"Mac Studio", "M1 Ultra", 64, "llama-2-33b", 8}};
constexpr std::int64_t kGuideContext = 4096;

std::string speed_text(double tokens_per_second) {
  if (tokens_per_second <= 0) {
    return "–";
  }
  return tokens_per_second < 10
             ? fmt::format("{:.1f} tok/s", tokens_per_second)
             : fmt::format("{:.0f} tok/s", tokens_per_second);
}

std::string size_text(double bytes) {
  return fmt::format("{:.1f} GB", bytes / 1e9);
}

std::string size_text(std::uint64_t bytes) {
  return size_text(static_cast<double>(bytes));
}

std::string factor_text(std::optional<double> factor) {
  return factor ? fmt::format("{:.1f}×", *factor) : "–";
}

/// "16GB", "16 GiB", "16", "0.5TB" as memory is sold: powers of 1024.
std::uint64_t parse_ram(const std::string& text) {
  char* end = nullptr;
  const double number = std::strtod(text.c_str(), &end);
  std::string unit;
  for (; *end != '\0'; ++end) {
    if (*end != ' ' && *end != 'i' && *end != 'I') {
      unit += static_cast<char>(std::toupper(static_cast<unsigned char>(*end)));
    }
  }
  const double scale = unit.empty() || unit == "G" || unit == "GB" ? kGib
                       : unit == "M" || unit == "MB"               ? kGib / 1024
                       : unit == "T" || unit == "TB"               ? kGib * 1024
                                                                   : 0;
  const double bytes = number * scale;
  if (!(bytes >= kGib / 16 && bytes <= 64 * 1024 * kGib)) {
    fail<UserError>(
        fmt::format("--ram can't be \"{}\"", text),
        "",
        "It takes a size such as 16GB, from 64MB to 64TB");
  }
  return static_cast<std::uint64_t>(bytes);
}

const Use& find_use(const std::string& name) {
  std::vector<std::string> names;
  for (const Use& use : kUses) {
    if (use.name == name) {
      return use;
    }
    names.emplace_back(use.name);
  }
  fail<UserError>(
      fmt::format("--use can't be \"{}\"", name),
      did_you_mean(name, names),
      "It takes chat, code, qa, creative or train");
}

std::optional<PlannedModel> catalogued(const char* name) {
  const CatalogueEntry* entry = find_in_catalogue(name);
  if (!entry) {
    return std::nullopt;
  }
  return plan_spec(std::string(entry->name), catalogue_spec(*entry));
}

template <class Names>
std::vector<PlannedModel> catalogued_all(const Names& names) {
  std::vector<PlannedModel> models;
  for (const char* name : names) {
    if (auto model = catalogued(name)) {
      models.push_back(std::move(*model));
    }
  }
  return models;
}

/// This machine, measured; its memory as told.
Hardware detected_hardware(std::optional<std::uint64_t> ram) {
  const MachineFacts facts = machine_facts();
  const MachineProfile profile = current_profile();
  const bool gpu = profile.threads == 0;
  const Chip* chip = look_up_chip(gpu ? profile.cpu : facts.cpu);
  Hardware hardware;
  hardware.ram_bytes = ram.value_or(facts.memory_bytes);
  hardware.budget_bytes = cpu_memory_budget(hardware.ram_bytes);
  if (chip && gpu) {
    // A card's memory isn't the system's.
    const bool card = chip->vendor == ChipVendor::nvidia && !ram;
    const auto own =
        static_cast<std::uint64_t>(chip->smallest_memory_gib() * kGib);
    hardware = hardware_of(*chip, card ? own : hardware.ram_bytes);
  }
  hardware.gpu = gpu;
  hardware.name =
      profile.cpu + (gpu ? "" : fmt::format(", {} threads", profile.threads));
  hardware.rates.name = hardware.name;
  hardware.rates.bytes_per_second = profile.read_bandwidth;
  return hardware;
}

Hardware named_hardware(
    const std::string& name,
    std::optional<std::uint64_t> ram) {
  std::optional<int> gib;
  if (ram) {
    gib = static_cast<int>(static_cast<double>(*ram) / kGib + 0.5);
  }
  const Chip& chip = find_chip(name, gib);
  const auto least =
      static_cast<std::uint64_t>(chip.smallest_memory_gib() * kGib);
  Hardware hardware = hardware_of(chip, ram.value_or(least));
  if (gib && !chip.sold_with(*gib)) {
    hardware.note = fmt::format(
        "{} was never sold with {} GB; computed as if it were.",
        chip.label(),
        *gib);
  }
  return hardware;
}

std::string quant_flag(const std::optional<WeightFormat>& format) {
  return format && format->bits < 16
             ? fmt::format(" --quant int{}", format->bits)
             : "";
}

std::string format_name(const std::optional<WeightFormat>& format) {
  return format ? format->text() : "as stored (bf16)";
}

std::string memory_command(const RunPlan& plan) {
  return fmt::format(
      "roofline memory --model {}{} --context {}",
      plan.model,
      quant_flag(plan.format),
      plan.question.context_tokens);
}

std::string generate_command(const RunPlan& plan, const std::string& preset) {
  return fmt::format(
      "roofline generate --model {}{} --preset {} --max-kv {} \"…\"",
      plan.model,
      quant_flag(plan.format),
      preset,
      plan.question.context_tokens);
}

std::string train_command(const TrainPlan& plan) {
  const TrainingQuestion& question = plan.question;
  std::string command = fmt::format(
      "roofline memory --model {} --train {} --batch {} --sequence {}",
      plan.model,
      name_of(question.method),
      question.batch,
      question.sequence_tokens);
  if (question.method != TrainMethod::full) {
    command += fmt::format(" --rank {}", question.rank);
  }
  return command + (question.checkpointing ? " --checkpointing" : "");
}

Json optional_json(std::optional<double> value) {
  return value ? Json(*value) : Json(nullptr);
}

Json run_json(const RunPlan& plan, const std::string& preset) {
  const int bits = plan.format ? plan.format->bits : 16;
  return {
      {"model", plan.model},
      {"parameters", plan.parameters},
      {"format", format_name(plan.format)},
      {"bits", bits},
      {"context_tokens", plan.question.context_tokens},
      {"kv_bits", plan.question.kv_bits},
      {"prefill_step", plan.question.prefill_step},
      {"memory_bytes", plan.memory.total()},
      {"decode_tokens_per_second", plan.speed.decode},
      {"decode_roof_tokens_per_second", plan.speed.decode_roof},
      {"prefill_tokens_per_second", plan.speed.prefill},
      {"decode_speedup_over_cpu", optional_json(plan.decode_speedup)},
      {"prefill_speedup_over_cpu", optional_json(plan.prefill_speedup)},
      {"quick_enough", plan.quick_enough},
      {"copies_at_once", plan.copies},
      {"parallel_streams", plan.streams},
      {"parallel_tokens_per_second", plan.streams_tokens_per_second},
      {"commands", {memory_command(plan), generate_command(plan, preset)}}};
}

Json train_json(const TrainPlan& plan) {
  return {
      {"model", plan.model},
      {"method", name_of(plan.question.method)},
      {"batch", plan.question.batch},
      {"sequence_tokens", plan.question.sequence_tokens},
      {"rank", plan.question.rank},
      {"checkpointing", plan.question.checkpointing},
      {"memory_bytes", plan.memory.total()},
      {"fits", plan.fits},
      {"command", train_command(plan)}};
}

/// One evaluated example of the guide.
struct GuideResult {
  GuideExample example;
  Hardware hardware;
  FitVerdict fit;
  SpeedPrediction speed;

  std::string verdict() const {
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

  Json json() const {
    return {
        {"machine", example.machine},
        {"chip", example.chip},
        {"ram_gib", example.ram_gib},
        {"model", example.model},
        {"bits", example.bits},
        {"verdict", verdict()},
        {"context_tokens", fit.context_tokens},
        {"largest_context_tokens", fit.largest_context},
        {"memory_bytes", fit.memory.total()},
        {"budget_bytes", fit.budget_bytes},
        {"decode_tokens_per_second", speed.decode}};
  }
};

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
  }
  return fmt::format(
      "The guide's section 6, computed at {} tokens of context; macOS leaves "
      "the GPU 2/3\nof up to 36 GB and 3/4 of more:\n{}",
      kGuideContext,
      table_text(table));
}

std::string machine_text(const Hardware& hardware) {
  std::string text = fmt::format(
      "{}, {:.0f} GB\n    {:.0f} GB/s",
      hardware.name,
      static_cast<double>(hardware.ram_bytes) / kGib,
      hardware.rates.bytes_per_second / 1e9);
  if (hardware.rates.operations_per_second > 0) {
    text += fmt::format(
        ", {:.1f} TFLOPS of 16-bit floats",
        hardware.rates.operations_per_second / 1e12);
  }
  return text +
         fmt::format("; {} for models\n", size_text(hardware.budget_bytes));
}

class Recommend : public Command {
 public:
  void declare(CLI::App& app) override;
  int run() override;

 private:
  std::vector<PlannedModel> candidates() const;
  void recommend_run(const Hardware& hardware);
  void recommend_training(const Hardware& hardware);
  std::string run_text(const Hardware& hardware, const RunPlan& plan) const;
  std::string speedup_text(const Hardware& hardware, const RunPlan& plan) const;
  void list_chips() const;

  std::optional<std::string> chip_;
  std::optional<std::string> ram_;
  std::string use_ = "chat";
  std::optional<std::string> model_;
  bool guide_ = false;
  bool chips_ = false;
  bool json_ = false;
};

void Recommend::declare(CLI::App& app) {
  const auto text = [&](const char* option,
                        auto& value,
                        const char* type,
                        const char* group,
                        const char* description) {
    app.add_option(option, value, description)->type_name(type)->group(group);
  };
  text(
      "--chip",
      chip_,
      "NAME",
      "Machine",
      "A chip by name, such as \"M2 Pro\". Default: this machine, measured.");
  text(
      "--ram",
      ram_,
      "SIZE",
      "Machine",
      "Its memory, such as 16GB. Default: this machine's, or the least that "
      "the chip was sold with.");
  text(
      "--use",
      use_,
      "chat|code|qa|creative|train",
      "Purpose",
      "What it is for. Default: chat.");
  text(
      "--model",
      model_,
      "MODEL",
      "Purpose",
      "Only this model: a name of the catalogue, a config.json or a "
      "checkpoint. Default: well-known ones.");
  app.add_flag("--guide", guide_, "Check the guide's example configurations.")
      ->group("Output");
  app.add_flag("--list-chips", chips_, "List the chips that are known.")
      ->group("Output");
  app.add_flag("--json", json_, "Print one JSON object.")->group("Output");
  app.footer(
      "Nothing is recommended that doesn't fit. Speeds of a named chip follow "
      "from what its\nmaker publishes, those of this machine from its measured "
      "bandwidth.\n"
      "\n"
      "Examples\n"
      "    roofline recommend\n"
      "    roofline recommend --chip \"M2 Pro\" --ram 16GB --use code\n"
      "    roofline recommend --chip \"M3 Max\" --ram 64GB --use train\n"
      "    roofline recommend --guide");
}

std::vector<PlannedModel> Recommend::candidates() const {
  if (model_) {
    return {plan_model(*model_)};
  }
  auto models =
      use_ == "code" ? catalogued_all(kCoders) : catalogued_all(kGeneral);
  for (PlannedModel& model : catalogued_all(kGuideModels)) {
    if (use_ != "code") {
      models.push_back(std::move(model));
    }
  }
  return models;
}

std::string Recommend::speedup_text(
    const Hardware& hardware,
    const RunPlan& plan) const {
  if (!plan.decode_speedup) {
    return "";
  }
  std::string text = fmt::format(
      "    over CPU     decode {}, prefill {} by the published rates",
      factor_text(plan.decode_speedup),
      factor_text(plan.prefill_speedup));
  const Chip* chip = look_up_chip(hardware.name);
  const auto claim = chip ? claimed_speedup(*chip) : std::nullopt;
  if (!claim) {
    return text + "\n";
  }
  return text +
         fmt::format(
             "\n                 The guide expects {:.0f} to {:.0f}× of {}: "
             "prefill is bound by arithmetic,\n                 where the GPU "
             "leads; decode by memory, which the CPU shares.\n",
             claim->least,
             claim->most,
             claim->chips);
}

std::string Recommend::run_text(const Hardware& hardware, const RunPlan& plan)
    const {
  const Preset& preset = find_preset(use_);
  const SamplingOptions& sampling = preset.options;
  std::string text = fmt::format(
      "For {}: {} in {}\n",
      use_,
      plan.model,
      format_name(plan.format));
  text += fmt::format(
      "    memory       {} of {} at {} tokens of context, KV cache {} bits\n",
      size_text(plan.memory.total()),
      size_text(hardware.budget_bytes),
      plan.question.context_tokens,
      plan.question.kv_bits);
  text += fmt::format(
      "    speed        decode {} expected (roof {}), prefill {}{}\n",
      speed_text(plan.speed.decode),
      speed_text(plan.speed.decode_roof),
      speed_text(plan.speed.prefill),
      plan.quick_enough ? "" : "; slower than people read");
  text += speedup_text(hardware, plan);
  text += fmt::format(
      "    at once      {} side by side, or one that decodes {} in parallel "
      "({} together)\n",
      plan.copies,
      plan.streams,
      speed_text(plan.streams_tokens_per_second));
  text += fmt::format(
      "    settings     preset {}: temperature {:g}, top-p {:g}, top-k {}, "
      "repetition {:g}\n",
      preset.name,
      sampling.temperature,
      sampling.top_p,
      sampling.top_k,
      sampling.repetition_penalty);
  return text + fmt::format(
                    "\nRun\n    {}\n    {}\n    (the second needs the "
                    "checkpoint: a path, or a name under $ROOFLINE_MODELS)\n",
                    memory_command(plan),
                    generate_command(plan, use_));
}

std::string others_text(const std::vector<RunPlan>& plans) {
  Table table{
      {{"Also fits"},
       {"Format"},
       {"Context", Align::right},
       {"Memory", Align::right},
       {"Decode", Align::right},
       {"Prefill", Align::right}},
      {}};
  for (std::size_t i = 1; i < plans.size() && i <= kMostOthers; ++i) {
    const RunPlan& plan = plans[i];
    table.rows.push_back(
        {plan.model,
         format_name(plan.format),
         std::to_string(plan.question.context_tokens),
         size_text(plan.memory.total()),
         speed_text(plan.speed.decode),
         speed_text(plan.speed.prefill)});
  }
  return table.rows.empty() ? "" : "\n" + table_text(table);
}

[[noreturn]] void refuse_small(
    const Hardware& hardware,
    const std::optional<std::string>& model) {
  fail<UserError>(
      fmt::format(
          "{} doesn't fit {} with {:.1f} GB",
          model ? *model : "No known model",
          hardware.name,
          static_cast<double>(hardware.ram_bytes) / kGib),
      fmt::format("{} are left to models", size_text(hardware.budget_bytes)),
      "Name more memory or a smaller model");
}

Json hardware_json(const Hardware& hardware) {
  return {
      {"name", hardware.name},
      {"gpu", hardware.gpu},
      {"ram_bytes", hardware.ram_bytes},
      {"budget_bytes", hardware.budget_bytes},
      {"bytes_per_second", hardware.rates.bytes_per_second},
      {"operations_per_second", hardware.rates.operations_per_second},
      {"note", hardware.note}};
}

void Recommend::recommend_run(const Hardware& hardware) {
  const Use& use = find_use(use_);
  RunWish wish;
  wish.context_tokens = use.context_tokens;
  wish.prompt_tokens = use.prompt_tokens;
  wish.least_tokens_per_second = use.least_tokens_per_second;
  std::vector<RunPlan> plans;
  for (const PlannedModel& model : candidates()) {
    if (auto plan = plan_run(model, hardware, wish)) {
      plans.push_back(std::move(*plan));
    }
  }
  plans = rank_runs(std::move(plans));
  if (plans.empty()) {
    refuse_small(hardware, model_);
  }
  const auto guide = evaluate_guide(&hardware);
  if (json_) {
    Json out = {{"machine", hardware_json(hardware)}, {"use", use_}};
    out["best"] = run_json(plans.front(), use_);
    out["others"] = Json::array();
    for (std::size_t i = 1; i < plans.size(); ++i) {
      out["others"].push_back(run_json(plans[i], use_));
    }
    out["guide"] = Json::array();
    for (const GuideResult& result : guide) {
      out["guide"].push_back(result.json());
    }
    write_json(out);
    return;
  }
  std::string text = machine_text(hardware) + "\n";
  text += run_text(hardware, plans.front()) + others_text(plans);
  write_output(text + (guide.empty() ? "" : "\n" + guide_text(guide)));
}

void Recommend::recommend_training(const Hardware& hardware) {
  std::vector<TrainPlan> best;
  std::vector<std::vector<TrainPlan>> all;
  for (const PlannedModel& model : candidates()) {
    auto plans = plan_training(model, hardware);
    const auto fits = std::find_if(plans.begin(), plans.end(), [](auto& plan) {
      return plan.fits;
    });
    if (fits != plans.end()) {
      best.push_back(*fits);
      all.push_back(std::move(plans));
    }
  }
  if (best.empty()) {
    refuse_small(hardware, model_);
  }
  const auto first = static_cast<std::size_t>(
      std::max_element(
          best.begin(),
          best.end(),
          [](auto& a, auto& b) { return a.parameters < b.parameters; }) -
      best.begin());
  if (json_) {
    Json out = {{"machine", hardware_json(hardware)}, {"use", use_}};
    out["best"] = train_json(best[first]);
    out["methods"] = Json::array();
    for (const auto& plans : all) {
      for (const TrainPlan& plan : plans) {
        out["methods"].push_back(train_json(plan));
      }
    }
    write_json(out);
    return;
  }
  Table table{
      {{"Model"},
       {"Method"},
       {"Batch", Align::right},
       {"Checkpointing"},
       {"Memory", Align::right},
       {"Fits"}},
      {}};
  for (const auto& plans : all) {
    for (const TrainPlan& plan : plans) {
      table.rows.push_back(
          {plan.model,
           name_of(plan.question.method),
           std::to_string(plan.question.batch),
           plan.question.checkpointing ? "yes" : "no",
           size_text(plan.memory.total()),
           plan.fits ? "yes" : "no"});
    }
  }
  const TrainPlan& plan = best[first];
  write_output(fmt::format(
      "{}\nTo train: {} by {}, batch {} of {} tokens, {}\n    {} of {}\n\n"
      "Run\n    {}\n\n{}",
      machine_text(hardware),
      plan.model,
      name_of(plan.question.method),
      plan.question.batch,
      plan.question.sequence_tokens,
      plan.question.checkpointing ? "with checkpointing"
                                  : "without checkpointing",
      size_text(plan.memory.total()),
      size_text(hardware.budget_bytes),
      train_command(plan),
      table_text(table)));
}

void Recommend::list_chips() const {
  Table table{
      {{"Chip"},
       {"GPU cores", Align::right},
       {"Bandwidth", Align::right},
       {"16-bit floats", Align::right},
       {"Memory"}},
      {}};
  Json out = Json::array();
  for (const Chip& chip : chips()) {
    std::string sizes;
    Json json_sizes = Json::array();
    for (const int gib : chip.memory_gib) {
      if (gib > 0) {
        sizes += (sizes.empty() ? "" : ", ") + std::to_string(gib);
        json_sizes.push_back(gib);
      }
    }
    table.rows.push_back(
        {std::string(chip.name),
         chip.gpu_cores > 0 ? std::to_string(chip.gpu_cores) : "–",
         fmt::format("{:.0f} GB/s", chip.gigabytes_s),
         fmt::format("{:.1f} TFLOPS", chip.tera_ops),
         sizes + " GB"});
    out.push_back(
        {{"name", chip.name},
         {"gpu_cores", chip.gpu_cores},
         {"bytes_per_second", chip.gigabytes_s * 1e9},
         {"operations_per_second", chip.tera_ops * 1e12},
         {"memory_gib", json_sizes}});
  }
  json_ ? write_json(out) : write_output(table_text(table));
}

int Recommend::run() {
  find_use(use_);
  if (chips_) {
    list_chips();
    return kSuccess;
  }
  if (guide_) {
    const auto results = evaluate_guide(nullptr);
    if (json_) {
      Json out = Json::array();
      for (const GuideResult& result : results) {
        out.push_back(result.json());
      }
      write_json({{"guide", out}});
    } else {
      write_output(guide_text(results));
    }
    return kSuccess;
  }
  std::optional<std::uint64_t> ram;
  if (ram_) {
    ram = parse_ram(*ram_);
  }
  const Hardware hardware =
      chip_ ? named_hardware(*chip_, ram) : detected_hardware(ram);
  use_ == "train" ? recommend_training(hardware) : recommend_run(hardware);
  return kSuccess;
}

}  // namespace

std::unique_ptr<Command> make_recommend() {
  return std::make_unique<Recommend>();
}

}  // namespace roofline::cli
