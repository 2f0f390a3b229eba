#include "roofline/plan/memory.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <CLI/CLI.hpp>

#include "roofline/base/errors.h"
#include "roofline/base/nearest.h"
#include "roofline/cli/command.h"
#include "roofline/cli/measure_memory.h"
#include "roofline/cli/memory_answers.h"
#include "roofline/cli/options.h"
#include "roofline/cli/output.h"
#include "roofline/cli/run_history.h"
#include "roofline/plan/chips.h"
#include "roofline/plan/fit.h"
#include "roofline/plan/machine_facts.h"
#include "roofline/plan/recommend.h"

namespace roofline::cli {

namespace {

constexpr std::int64_t kDefaultContext = 4096;
constexpr int kDefaultGroup = 64;
constexpr double kGib = 1024.0 * 1024 * 1024;

template <class T>
struct Named {
  const char* name;
  T value;
};

constexpr std::array kMethods = {
    Named<TrainMethod>{"full", TrainMethod::full},
    Named<TrainMethod>{"lora", TrainMethod::lora},
    Named<TrainMethod>{"qlora", TrainMethod::qlora},
    Named<TrainMethod>{"dora", TrainMethod::dora}};
constexpr std::array kOptimizers = {
    Named<OptimizerKind>{"sgd", OptimizerKind::sgd},
    Named<OptimizerKind>{"adamw", OptimizerKind::adamw},
    Named<OptimizerKind>{"adamw8", OptimizerKind::adamw8},
    Named<OptimizerKind>{"lion", OptimizerKind::lion},
    Named<OptimizerKind>{"adafactor", OptimizerKind::adafactor},
    Named<OptimizerKind>{"muon", OptimizerKind::muon}};

template <class Rows>
auto pick(const Rows& rows, const std::string& name, const char* option) {
  std::vector<std::string> names;
  for (const auto& row : rows) {
    if (name == row.name) {
      return row.value;
    }
    names.emplace_back(row.name);
  }
  fail<UserError>(
      fmt::format("{} can't be \"{}\"", option, name),
      did_you_mean(name, names),
      fmt::format("It takes {}", fmt::join(names, ", ")));
}

/// What this machine leaves to a model: the GPU's working set on macOS, else
/// all but the system's part.
MemoryBudget budget_here(std::uint64_t ram, bool gpu) {
  return {
      "This machine",
      ram,
      gpu ? gpu_working_set_limit(ram) : cpu_memory_budget(ram)};
}

class Memory : public Command {
 public:
  void declare(CLI::App& app) override {
    app.add_option(
           "MODEL,--model",
           model_,
           "A file, a folder, a config.json or a name of the catalogue. "
           "Default: the bundled one.")
        ->type_name("MODEL")
        ->group("Model");
    declare_run(app);
    declare_training(app);
    declare_questions(app);
    app.footer(
        "Also called memory_analyzer.\n"
        "\n"
        "Examples\n"
        "    roofline memory llama-2-7b --quant int4 --context 4096\n"
        "    roofline memory --ram 16GB\n"
        "    roofline memory qwen3-8b --fit --ram 8GB\n"
        "    roofline memory llama-3.1-8b --train qlora --rank 16\n"
        "    roofline memory --context 2048 --measure\n"
        "    roofline memory --table\n"
        "    roofline memory_analyzer --model llama-2-7b --quant int4");
  }

  int run() override {
    if (table_) {
      tell_claims(json_);
      return kSuccess;
    }
    if (history_) {
      tell_history(json_);
      return kSuccess;
    }
    const InferenceQuestion wish = question();
    const MemoryBudget room = budget();
    if (ram_ && model_.empty() && !fit_) {
      tell_models_that_fit(wish, room, group_size(), json_);
      return kSuccess;
    }
    const PlannedModel model = plan_model(model_);
    if (fit_) {
      const bool any = tell_settings(model, wish, room, group_size(), json_);
      return any ? kSuccess : kUserMistake;
    }
    return train_.empty() ? tell_inference(model, wish, room)
                          : tell_training(model, room);
  }

 private:
  void declare_run(CLI::App& app);
  void declare_training(CLI::App& app);
  void declare_questions(CLI::App& app);

  int group_size() const { return quant_.group_size.value_or(kDefaultGroup); }
  bool gpu() const;
  MemoryBudget budget() const;
  InferenceQuestion question() const;
  TrainingQuestion training() const;
  int tell_inference(
      const PlannedModel& model,
      InferenceQuestion question,
      const MemoryBudget& room) const;
  int tell_training(const PlannedModel& model, const MemoryBudget& room) const;

  std::string model_;
  QuantFlags quant_;
  std::string context_;
  std::string device_ = "auto";
  InferenceQuestion run_;
  std::string train_;
  TrainingQuestion training_;
  std::string targets_;
  std::string optimizer_ = "adamw";
  std::optional<std::string> ram_;
  std::string plot_;
  bool measure_ = false;
  MeasureOptions measuring_;
  bool fit_ = false;
  bool table_ = false;
  bool history_ = false;
  bool json_ = false;
};

void Memory::declare_run(CLI::App& app) {
  const char* group = "Inference";
  quant_.declare(app);
  app.add_option(
         "--context",
         context_,
         "Tokens of the sequence, or max: the most that fit. Default: 4096.")
      ->type_name("N|max")
      ->group(group);
  app.add_option("--batch", run_.batch, "Sequences at once. Default: 1.")
      ->type_name("N")
      ->group(group);
  app.add_option(
         "--kv-bits",
         run_.kv_bits,
         "Bits of a cached value: 32, 16, 8 or 4. Default: 16.")
      ->type_name("N")
      ->group(group);
  app.add_option(
         "--prefill-step",
         run_.prefill_step,
         "Tokens of a prefill step. Default: 512.")
      ->type_name("N")
      ->group(group);
  app.add_option(
         "--device",
         device_,
         "cpu or gpu: on which it would run. Default: gpu with --ram and on "
         "macOS, else cpu.")
      ->type_name("NAME")
      ->group(group);
}

void Memory::declare_training(CLI::App& app) {
  const char* group = "Training";
  app.add_option("--train", train_, "full, lora, qlora or dora.")
      ->type_name("METHOD")
      ->group(group);
  app.add_option("--rank", training_.rank, "Of the adapters. Default: 8.")
      ->type_name("N")
      ->group(group);
  app.add_option(
         "--targets",
         targets_,
         "Matrices with adapters. Default: q_proj,k_proj,v_proj,o_proj.")
      ->type_name("A,B")
      ->group(group);
  app.add_option(
         "--seq",
         training_.sequence_tokens,
         "Tokens of a sample. Default: 512.")
      ->type_name("N")
      ->group(group);
  app.add_option(
         "--train-batch",
         training_.batch,
         "Samples of a step. Default: 4.")
      ->type_name("N")
      ->group(group);
  app.add_flag(
         "--checkpointing",
         training_.checkpointing,
         "Keep only each layer's input, and compute the rest again.")
      ->group(group);
  app.add_option(
         "--optimizer",
         optimizer_,
         "sgd, adamw, adamw8, lion, adafactor or muon. Default: adamw.")
      ->type_name("NAME")
      ->group(group);
  app.add_option(
         "--precision",
         training_.precision_bits,
         "Bits of weights and activations: 16 or 32. Default: 16.")
      ->type_name("N")
      ->group(group);
}

void Memory::declare_questions(CLI::App& app) {
  const char* group = "Questions";
  app.add_option(
         "--ram",
         ram_,
         "A machine with so much memory, of which macOS leaves 2/3 (over "
         "36GB: 3/4) to the GPU. Without a model: the largest that fit.")
      ->type_name("16GB")
      ->group(group);
  app.add_flag(
         "--fit",
         fit_,
         "The settings with which the model fits, best quality first.")
      ->group(group);
  app.add_flag(
         "--measure",
         measure_,
         "Run it, and print what was predicted beside what it took; a model "
         "without weights here runs with random ones. A first start, which "
         "packs the weights, takes more.")
      ->group(group);
  app.add_option(
         "--measure-steps",
         measuring_.last_steps,
         "Compute only the last N prefill steps; the cache before them is "
         "filled with zeros, which takes the same memory. Default: all.")
      ->type_name("N")
      ->check(CLI::PositiveNumber)
      ->group(group);
  app.add_flag("--table", table_, "Check the guide's tables, row by row.")
      ->group(group);
  app.add_flag(
         "--history",
         history_,
         "Recent runs here: what was predicted beside what they took.")
      ->group(group);
  app.add_option(
         "--plot",
         plot_,
         "Draw memory over context into an .svg, .png or .html file.")
      ->type_name("FILE")
      ->group("Output");
  app.add_flag("--json", json_, "Print one JSON object.")->group("Output");
}

bool Memory::gpu() const {
  constexpr std::array kDevices = {
      Named<int>{"auto", 0},
      Named<int>{"cpu", 1},
      Named<int>{"gpu", 2}};
  const int device = pick(kDevices, device_, "--device");
#ifdef __APPLE__
  const bool natural = true;
#else
  const bool natural = ram_.has_value();
#endif
  return device == 0 ? natural : device == 2;
}

MemoryBudget Memory::budget() const {
  if (!ram_) {
    return budget_here(machine_facts().memory_bytes, gpu());
  }
  const std::uint64_t ram = parse_memory_size(*ram_);
  MemoryBudget budget = budget_here(ram, gpu());
  budget.name =
      fmt::format("A machine of {:g} GiB", static_cast<double>(ram) / kGib);
  return budget;
}

InferenceQuestion Memory::question() const {
  InferenceQuestion question = run_;
  question.gpu = gpu();
  if (const auto choice = quant_.resolve()) {
    question.quantize = weight_format(*choice);
  }
  question.context_tokens = kDefaultContext;
  if (!context_.empty() && context_ != "max") {
    std::int64_t tokens = 0;
    if (!CLI::detail::lexical_cast(context_, tokens) || tokens < 1) {
      fail<UserError>(
          fmt::format("--context can't be \"{}\"", context_),
          "",
          "It takes a number of tokens, or max");
    }
    question.context_tokens = tokens;
  }
  return question;
}

TrainingQuestion Memory::training() const {
  TrainingQuestion question = training_;
  question.method = pick(kMethods, train_, "--train");
  question.optimizer = pick(kOptimizers, optimizer_, "--optimizer");
  question.base_format.group_size = group_size();
  if (!targets_.empty()) {
    question.targets = CLI::detail::split(targets_, ',');
  }
  return question;
}

int Memory::tell_inference(
    const PlannedModel& model,
    InferenceQuestion question,
    const MemoryBudget& room) const {
  if (context_ == "max") {
    question.context_tokens = largest_context(model, question, room.bytes);
    if (question.context_tokens == 0) {
      fail<UserError>(
          fmt::format("No context of {} fits", model.name),
          fmt::format(
              "{} has {} for a model",
              room.name,
              format_bytes(static_cast<double>(room.bytes))),
          "See --fit for settings that do");
    }
  }
  if (!plot_.empty()) {
    plot_contexts(model, question, room, plot_);
    write_notice(fmt::format("Wrote {}\n", plot_));
  }
  if (measure_) {
    return run_measured(model, question, measuring_, json_);
  }
  const std::string settings = fmt::format(
      "inference on the {}, weights {}, {} tokens of context, batch {}, KV "
      "cache in {} bits",
      question.gpu ? "GPU" : "CPU",
      question.quantize ? question.quantize->text() : "as stored",
      question.context_tokens,
      question.batch,
      question.kv_bits);
  MemoryConstants constants = default_memory_constants();
  std::string calibrated;
  // A named machine isn't this one.
  if (const auto own =
          ram_ || question.gpu ? std::nullopt : calibration_here()) {
    constants = own->constants;
    calibrated = fmt::format(", calibrated from {} runs here", own->runs);
  }
  tell_prediction(
      model,
      settings + calibrated,
      predict_inference(model, question, constants),
      room,
      question.context_tokens,
      json_);
  return kSuccess;
}

int Memory::tell_training(const PlannedModel& model, const MemoryBudget& room)
    const {
  if (!plot_.empty()) {
    fail<UserError>(
        "--plot draws memory over the context of inference",
        "Training has no context that grows",
        "Leave --train or --plot out");
  }
  const TrainingQuestion question = training();
  const bool full = question.method == TrainMethod::full;
  const std::string settings = fmt::format(
      "training by {}{}, batch {} of {} tokens, {}, {} bits{}",
      train_,
      full ? "" : fmt::format(" of rank {}", question.rank),
      question.batch,
      question.sequence_tokens,
      optimizer_,
      question.precision_bits,
      question.checkpointing ? ", with checkpointing" : "");
  tell_prediction(
      model,
      settings,
      predict_training(model, question),
      room,
      std::nullopt,
      json_);
  return kSuccess;
}

}  // namespace

std::unique_ptr<Command> make_memory() {
  return std::make_unique<Memory>();
}

}  // namespace roofline::cli
