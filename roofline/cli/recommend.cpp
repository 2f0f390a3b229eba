#include "roofline/plan/recommend.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/base/nearest.h"
#include "roofline/base/units.h"
#include "roofline/cli/app.h"
#include "roofline/cli/command.h"
#include "roofline/cli/output.h"
#include "roofline/cli/recommend_machine.h"
#include "roofline/cli/recommend_text.h"
#include "roofline/plan/fit.h"
#include "roofline/report/table.h"

namespace roofline::cli {

namespace {

using Json = nlohmann::ordered_json;

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
// Of the guide; its 33B of Llama 2 was never published.
constexpr std::array kGuideModels = {
    "llama-2-7b",
    "llama-2-13b",
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

class Recommend : public Command {
 public:
  void declare(App& app) override;
  int run() override;

 private:
  std::vector<PlannedModel> candidates() const;
  void recommend_run(const Hardware& hardware);
  void recommend_training(const Hardware& hardware);

  std::optional<std::string> chip_;
  std::optional<std::string> ram_;
  std::string use_ = "chat";
  std::optional<std::string> model_;
  bool guide_ = false;
  bool chips_ = false;
  bool json_ = false;
};

void Recommend::declare(App& app) {
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
      "A chip or a Mac by name, such as \"M2 Pro\" or \"MacBook Air M2 "
      "(8GB)\". "
      "Default: this machine, measured.");
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

[[noreturn]] void refuse_small(
    const Hardware& hardware,
    const std::optional<std::string>& model) {
  fail<UserError>(
      fmt::format(
          "{} {} with {:.1f} GB",
          model ? *model + " doesn't fit" : "No known model fits",
          hardware.name,
          static_cast<double>(hardware.ram_bytes) / kGib),
      fmt::format("{} are left to models", size_text(hardware.budget_bytes)),
      "Name more memory or a smaller model");
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
    out["best"] = run_json(hardware, plans.front(), use_);
    out["others"] = Json::array();
    for (std::size_t i = 1; i < plans.size(); ++i) {
      out["others"].push_back(run_json(hardware, plans[i], use_));
    }
    out["guide"] = Json::array();
    for (const GuideResult& result : guide) {
      out["guide"].push_back(result.json());
    }
    write_json(out);
    return;
  }
  std::string text = machine_text(hardware) + "\n";
  text += run_text(use_, hardware, plans.front()) + others_text(plans);
  write_text(
      text + (guide.empty() ? "" : fmt::format("\n{}", guide_text(guide))));
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
    out["best"] = train_json(hardware, best[first]);
    out["methods"] = Json::array();
    for (const auto& plans : all) {
      for (const TrainPlan& plan : plans) {
        out["methods"].push_back(train_json(hardware, plan));
      }
    }
    write_json(out);
    return;
  }
  Table table{
      {{"What fits"},
       {"Method"},
       {"Batch", Align::right},
       {"Checkpointing"},
       {"Memory", Align::right}},
      {}};
  for (const auto& plans : all) {
    for (const TrainPlan& plan : plans) {
      if (plan.fits) {
        table.rows.push_back(
            {plan.model,
             name_of(plan.question.method),
             std::to_string(plan.question.batch),
             plan.question.checkpointing ? "yes" : "no",
             size_text(plan.memory.total())});
      }
    }
  }
  write_text(
      machine_text(hardware) + "\n" + train_text(hardware, best[first]) + "\n" +
      table_text(table, output_columns()));
}

int Recommend::run() {
  find_use(use_);
  if (chips_) {
    list_chips(json_);
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
      write_text(guide_text(results));
    }
    return kSuccess;
  }
  std::optional<std::uint64_t> ram;
  if (ram_) {
    ram = parse_memory_size(*ram_);
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
