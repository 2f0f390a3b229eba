#include "roofline/plan/memory.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <mlx/device.h>

#include "roofline/base/errors.h"
#include "roofline/base/nearest.h"
#include "roofline/base/option_values.h"
#include "roofline/base/thread_pool.h"
#include "roofline/base/units.h"
#include "roofline/cli/app.h"
#include "roofline/cli/command.h"
#include "roofline/cli/measure_memory.h"
#include "roofline/cli/measure_training.h"
#include "roofline/cli/memory_answers.h"
#include "roofline/cli/memory_flags.h"
#include "roofline/cli/output.h"
#include "roofline/cli/run_history.h"
#include "roofline/plan/chips.h"
#include "roofline/plan/fit.h"
#include "roofline/plan/machine.h"
#include "roofline/plan/machine_facts.h"
#include "roofline/plan/recommend.h"

namespace roofline::cli {

namespace {

constexpr std::int64_t kDefaultContext = 4096;

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
  void declare(App& app) override {
    flags_.declare(app);
    app.footer(
        "Also called memory_analyzer.\n"
        "\n"
        "Examples\n"
        "    roofline memory llama-2-7b --quant int4 --context 4096\n"
        "    roofline memory --ram 16GB\n"
        "    roofline memory qwen3-8b --fit --ram 8GB\n"
        "    roofline memory llama-3.1-8b --train qlora --rank 16\n"
        "    roofline memory llama-3.2-1b --train lora --seq 256 --measure\n"
        "    roofline memory --context 2048 --measure\n"
        "    roofline memory --table\n"
        "    roofline memory_analyzer --model llama-2-7b --quant int4");
  }

  int run() override {
    flags_.require_one_question();
    if (flags_.table) {
      tell_claims(flags_.json);
      return kSuccess;
    }
    if (flags_.history) {
      tell_history(flags_.json);
      return kSuccess;
    }
    const MemoryBudget room = budget();
    if (flags_.asks_for_models()) {
      tell_models_that_fit(question(), room, flags_.json);
      return kSuccess;
    }
    const PlannedModel model = plan_model(flags_.model);
    if (!flags_.train.empty()) {
      return tell_training(model, room);
    }
    InferenceQuestion wish = question();
    if (flags_.fit) {
      const std::int64_t own = model.spec.context_tokens;
      if (own > 0 && flags_.context == "max") {
        wish.context_tokens = own;
      }
      tell_settings(model, wish, room, flags_.json);
      return kSuccess;
    }
    return tell_inference(model, wish, room);
  }

 private:
  bool gpu() const;
  MemoryBudget budget() const;
  /// What earlier runs say; a named machine isn't this one.
  std::optional<Calibration> calibration() const;
  /// Of the CPU's kernels, with which what is measured runs too.
  int threads() const;
  InferenceQuestion question() const;
  TrainingQuestion training() const;
  int tell_inference(
      const PlannedModel& model,
      InferenceQuestion question,
      const MemoryBudget& room) const;
  int tell_training(const PlannedModel& model, const MemoryBudget& room) const;

  MemoryFlags flags_;
};

bool Memory::gpu() const {
  constexpr std::array kDevices = {
      Named<int>{"auto", 0},
      Named<int>{"cpu", 1},
      Named<int>{"gpu", 2}};
  const int device = pick(kDevices, flags_.device, "--device");
#ifdef __APPLE__
  const bool natural = true;
#else
  // A named amount of memory is a Mac's.
  const bool natural =
      flags_.ram || mlx::core::is_available(mlx::core::Device::gpu);
#endif
  return device == 0 ? natural : device == 2;
}

MemoryBudget Memory::budget() const {
  const auto card = gpu() ? card_memory_bytes() : std::nullopt;
  if (card && !flags_.ram) {
    return {"This machine's GPU", *card, card_memory_budget(*card)};
  }
  if (!flags_.ram) {
    return budget_here(machine_facts().memory_bytes, gpu());
  }
  const std::uint64_t ram = parse_memory_size(*flags_.ram);
  MemoryBudget budget = budget_here(ram, gpu());
  budget.name = ram < kGib ? "A machine of " + format_bytes(ram)
                           : fmt::format(
                                 "A machine of {:g} GiB",
                                 static_cast<double>(ram) / kGib);
  return budget;
}

std::optional<Calibration> Memory::calibration() const {
  return flags_.ram || gpu() ? std::nullopt : calibration_here();
}

int Memory::threads() const {
  if (!flags_.threads) {
    return ThreadPool::default_threads();
  }
  if (gpu()) {
    fail<UserError>(
        "--threads is the CPU's",
        "This would run on a GPU",
        "Leave it out, or add --device cpu");
  }
  if (flags_.measure) {
    ThreadPool::set_global_threads(*flags_.threads);
  }
  return *flags_.threads;
}

/// For a sentence about settings.
std::string calibrated_text(const std::optional<Calibration>& calibration) {
  return calibration
             ? fmt::format(", calibrated from {} runs here", calibration->runs)
             : "";
}

InferenceQuestion Memory::question() const {
  InferenceQuestion question = flags_.run;
  question.gpu = gpu();
  question.threads = threads();
  question.card = gpu() && !flags_.ram && card_memory_bytes();
  KvChoice kv = flags_.kv.choice;
  if (kv.bits == 32) {  // as with --exact
    question.kv_float_bits = 32;
    kv.bits.reset();
  }
  question.kv = kv.resolve();
  if (const auto own = calibration()) {
    question.constants = own->constants;
  }
  if (const auto choice = flags_.quant.resolve()) {
    question.quantize = weight_format(*choice);
  }
  question.context_tokens = kDefaultContext;
  if (!flags_.context.empty() && flags_.context != "max") {
    std::string digits = flags_.context;
    const bool thousands = digits.back() == 'k' || digits.back() == 'K';
    if (thousands) {
      digits.pop_back();
    }
    const std::int64_t unit = thousands ? 1024 : 1;
    const auto tokens = parse_number<std::int64_t>(digits);
    if (!tokens || *tokens < 1 || *tokens > INT64_MAX / unit) {
      fail<UserError>(
          fmt::format("--context can't be \"{}\"", flags_.context),
          "",
          "It takes a number of tokens, as in 8192 or 8k, or max");
    }
    question.context_tokens = *tokens * unit;
  }
  return question;
}

TrainingQuestion Memory::training() const {
  TrainingQuestion question = flags_.training;
  question.method = pick(kMethods, flags_.train, "--train");
  question.optimizer = pick(kOptimizers, flags_.optimizer, "--optimizer");
  question.threads = threads();
  question.gpu = gpu();
  question.card = gpu() && !flags_.ram && card_memory_bytes();
  if (flags_.given("--batch")) {
    question.batch = flags_.run.batch;
  }
  question.precision_bits = flags_.precision.value_or(gpu() ? 16 : 32);
  if (!question.gpu && question.precision_bits == 16) {
    fail<UserError>(
        "--precision 16 is for a GPU",
        "On a CPU what is trained and kept is float32",
        "Leave it out, or give --device gpu");
  }
  if (const auto own = calibration()) {
    question.constants = own->constants;
  }
  if (!flags_.targets.empty()) {
    question.targets = split_list(flags_.targets, "--targets");
    // A matrix has one adapter, however often it is named.
    auto& targets = question.targets;
    std::sort(targets.begin(), targets.end());
    targets.erase(std::unique(targets.begin(), targets.end()), targets.end());
  }
  return question;
}

int Memory::tell_inference(
    const PlannedModel& model,
    InferenceQuestion question,
    const MemoryBudget& room) const {
  check_kv_format(question.kv, model.spec);
  if (flags_.context == "max") {
    question.context_tokens = largest_context(model, question, room.bytes);
    if (question.context_tokens == 0) {
      fail_to_fit(model, question, room);
    }
  }
  if (!flags_.plot.empty()) {
    plot_contexts(model, question, room, flags_.plot);
    write_notice(fmt::format("Wrote {}\n", flags_.plot));
  }
  if (flags_.measure) {
    return run_measured(model, question, flags_.measuring, flags_.json);
  }
  const std::string settings = fmt::format(
      "inference on the {}, weights {}, {} tokens of context, batch {}, KV "
      "cache in {}{}",
      question.gpu ? "GPU" : "CPU",
      question.quantize ? question.quantize->text() : "as stored",
      question.context_tokens,
      question.batch,
      question.kv_text(),
      calibrated_text(calibration()));
  tell_prediction(
      model,
      settings,
      predict_inference(model, question),
      room,
      question,
      flags_.json);
  return kSuccess;
}

int Memory::tell_training(const PlannedModel& model, const MemoryBudget& room)
    const {
  const TrainingQuestion question = training();
  const auto layers = static_cast<int>(model.spec.layers.size());
  if (question.trained_layers > layers) {
    fail<UserError>(
        fmt::format("--train-layers can't be {}", question.trained_layers),
        fmt::format("{} has {} layers", model.name, layers),
        "Name fewer, or leave it out for all");
  }
  if (flags_.measure) {
    return run_measured_training(model, question, flags_.json);
  }
  const bool full = question.method == TrainMethod::full;
  if (full && (flags_.given("--rank") || flags_.given("--targets"))) {
    write_notice(
        "--rank and --targets are of adapters: full training has none.\n");
  }
  const std::string settings = fmt::format(
      "training by {}{}, batch {} of {} tokens, {}, {} bits{}{}",
      flags_.train,
      full ? "" : fmt::format(" of rank {}", question.rank),
      question.batch,
      question.sequence_tokens,
      flags_.optimizer,
      question.precision_bits,
      question.checkpointing ? ", with checkpointing" : "",
      calibrated_text(calibration()));
  tell_prediction(
      model,
      settings,
      predict_training(model, question),
      room,
      std::nullopt,
      flags_.json);
  return kSuccess;
}

}  // namespace

std::unique_ptr<Command> make_memory() {
  return std::make_unique<Memory>();
}

}  // namespace roofline::cli
