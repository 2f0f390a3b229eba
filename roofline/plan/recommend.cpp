#include "roofline/plan/recommend.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include "roofline/base/units.h"

namespace roofline {

namespace {

constexpr int kMostStreams = 256;
constexpr std::int64_t kContextGrain = 256;

/// The formats to try, best quality first. Codes stay as they are stored.
std::vector<std::optional<WeightFormat>> formats_of(const PlannedModel& model) {
  for (const ModelTensor& tensor : model.tensors) {
    if (tensor.quantized) {
      return {std::nullopt};
    }
  }
  return {std::nullopt, WeightFormat{8, 64}, WeightFormat{4, 64}};
}

/// The largest of 0…most for which `fits` holds; it must hold up to some number
/// and not beyond.
std::int64_t largest(
    std::int64_t most,
    const std::function<bool(std::int64_t)>& fits) {
  std::int64_t low = 0;
  while (low < most) {
    const std::int64_t middle = low + (most - low + 1) / 2;
    if (fits(middle)) {
      low = middle;
    } else {
      most = middle - 1;
    }
  }
  return low;
}

std::optional<double> ratio(double over, double under) {
  return over > 0 && under > 0 ? std::optional(over / under) : std::nullopt;
}

/// Codes and floats run on paths with peaks of their own.
MachineRates rates_for(
    const Hardware& hardware,
    const std::optional<WeightFormat>& format,
    const PlannedModel& model) {
  MachineRates rates = hardware.rates;
  const bool codes =
      format ||
      std::any_of(model.tensors.begin(), model.tensors.end(), [](auto& t) {
        return t.quantized;
      });
  if (!codes && hardware.float_operations_per_second > 0) {
    rates.operations_per_second = hardware.float_operations_per_second;
  }
  return rates;
}

void add_speedup(
    RunPlan& plan,
    const PlannedModel& stored,
    const Hardware& hardware,
    std::int64_t prompt_tokens) {
  if (!hardware.cpu) {
    return;
  }
  const SpeedPrediction cpu =
      predict_speed(stored, plan.question, prompt_tokens, *hardware.cpu);
  plan.decode_speedup = ratio(plan.speed.decode, cpu.decode);
  plan.prefill_speedup = ratio(plan.speed.prefill, cpu.prefill);
}

void add_parallel(
    RunPlan& plan,
    const PlannedModel& model,
    const Hardware& hardware,
    std::int64_t prompt_tokens) {
  plan.copies = static_cast<int>(
      hardware.budget_bytes / std::max<std::uint64_t>(1, plan.memory.total()));
  InferenceQuestion question = plan.question;
  plan.streams = static_cast<int>(largest(kMostStreams, [&](std::int64_t n) {
    question.batch = static_cast<int>(n);
    return predict_inference(model, question).total() <= hardware.budget_bytes;
  }));
  question.batch = plan.streams;
  plan.streams_tokens_per_second =
      predict_speed(model, question, prompt_tokens, hardware.rates).decode;
}

/// Absent when it doesn't fit the budget.
std::optional<RunPlan> try_run(
    const PlannedModel& model,
    const Hardware& hardware,
    const RunWish& wish,
    std::optional<WeightFormat> format,
    std::int64_t context) {
  RunPlan plan;
  plan.model = model.name;
  plan.format = format;
  plan.question.context_tokens = context;
  plan.question.quantize = format;
  plan.question.gpu = hardware.gpu;
  plan.question.card = hardware.card;
  plan.question.constants = hardware.constants;
  plan.memory = predict_inference(model, plan.question);
  if (plan.memory.total() > hardware.budget_bytes) {
    return std::nullopt;
  }
  const std::int64_t prompt = std::min(wish.prompt_tokens, context);
  plan.parameters = static_cast<double>(model.parameters());
  plan.active_parameters = decode_work(model, 0).operations / 2;
  plan.speed = predict_speed(
      model,
      plan.question,
      prompt,
      rates_for(hardware, format, model));
  plan.prompt_tokens = prompt;
  if (plan.speed.prefill > 0) {
    plan.first_token_seconds = static_cast<double>(prompt) / plan.speed.prefill;
  }
  // An unknown rate speaks against nothing.
  plan.quick_enough = plan.speed.decode <= 0 ||
                      plan.speed.decode >= wish.least_tokens_per_second;
  add_speedup(plan, model, hardware, prompt);
  add_parallel(plan, model, hardware, prompt);
  return plan;
}

TrainPlan try_training(
    const PlannedModel& model,
    const Hardware& hardware,
    const TrainingQuestion& question) {
  TrainPlan plan;
  plan.model = model.name;
  plan.parameters = static_cast<double>(model.parameters());
  plan.question = question;
  plan.memory = predict_training(model, question);
  plan.fits = plan.memory.total() <= hardware.budget_bytes;
  return plan;
}

/// Without checkpointing if a batch of any size fits so.
TrainPlan best_training(
    const PlannedModel& model,
    const Hardware& hardware,
    TrainingQuestion question) {
  TrainPlan plan;
  for (const bool checkpointing : {false, true}) {
    question.checkpointing = checkpointing;
    for (const int batch : {8, 4, 2, 1}) {
      question.batch = batch;
      plan = try_training(model, hardware, question);
      if (plan.fits) {
        return plan;
      }
    }
  }
  return plan;
}

}  // namespace

Hardware hardware_of(const Chip& chip, std::uint64_t ram_bytes) {
  Hardware hardware;
  hardware.name = chip.label();
  hardware.ram_bytes = ram_bytes;
  hardware.budget_bytes = memory_budget(chip, ram_bytes);
  hardware.gpu = true;
  hardware.card = chip.vendor != ChipVendor::apple;
  hardware.rates = gpu_rates(chip);
  if (chip.cpu_cores > 0) {
    hardware.cpu = cpu_rates(chip);
  }
  return hardware;
}

std::uint64_t cpu_memory_budget(std::uint64_t ram_bytes) {
  const std::uint64_t least = std::min(2 * kGib, ram_bytes / 2);
  return ram_bytes - std::max(least, ram_bytes / 5);
}

std::string RunPlan::format_text() const {
  return format ? format->text() : "as stored";
}

double RunPlan::capability() const {
  return std::sqrt(parameters * std::min(parameters, active_parameters));
}

std::optional<RunPlan> plan_run(
    const PlannedModel& model,
    const Hardware& hardware,
    const RunWish& wish) {
  const std::int64_t most = model.spec.context_tokens > 0
                                ? model.spec.context_tokens
                                : wish.context_tokens;
  const std::int64_t context = std::min(wish.context_tokens, most);
  std::optional<RunPlan> slow;
  for (const auto& format : formats_of(model)) {
    auto plan = try_run(model, hardware, wish, format, context);
    if (plan && plan->quick_enough) {
      return plan;
    }
    if (plan) {
      slow = std::move(plan);
    }
  }
  if (slow) {
    return slow;
  }
  const auto smallest = formats_of(model).back();
  const std::int64_t least = std::min(context, wish.least_context_tokens);
  for (std::int64_t n = context / 2; n >= least && n > 0; n /= 2) {
    if (auto plan = try_run(model, hardware, wish, smallest, n)) {
      return plan;
    }
  }
  return std::nullopt;
}

std::vector<RunPlan> rank_runs(std::vector<RunPlan> plans) {
  std::stable_sort(
      plans.begin(),
      plans.end(),
      [](const RunPlan& a, const RunPlan& b) {
        if (a.quick_enough != b.quick_enough) {
          return a.quick_enough;
        }
        return a.capability() > b.capability();
      });
  return plans;
}

const char* name_of(TrainMethod method) {
  switch (method) {
    case TrainMethod::full:
      return "full";
    case TrainMethod::lora:
      return "lora";
    case TrainMethod::qlora:
      return "qlora";
    case TrainMethod::dora:
      return "dora";
  }
  return "";
}

std::vector<TrainPlan> plan_training(
    const PlannedModel& model,
    const Hardware& hardware,
    std::int64_t sequence_tokens,
    int rank) {
  TrainingQuestion question;
  question.sequence_tokens = sequence_tokens;
  question.rank = rank;
  question.constants = hardware.constants;
  question.gpu = hardware.gpu;
  std::vector<TrainPlan> plans;
  for (const TrainMethod method :
       {TrainMethod::full,
        TrainMethod::dora,
        TrainMethod::lora,
        TrainMethod::qlora}) {
    question.method = method;
    plans.push_back(best_training(model, hardware, question));
  }
  return plans;
}

FitVerdict check_fit(
    const PlannedModel& model,
    std::optional<WeightFormat> format,
    const Hardware& hardware,
    std::int64_t context_tokens) {
  InferenceQuestion question;
  question.gpu = hardware.gpu;
  question.card = hardware.card;
  question.constants = hardware.constants;
  question.quantize = format;
  question.context_tokens = context_tokens;
  FitVerdict verdict;
  verdict.context_tokens = context_tokens;
  verdict.budget_bytes = hardware.budget_bytes;
  verdict.memory = predict_inference(model, question);
  const std::int64_t most = model.spec.context_tokens > 0
                                ? model.spec.context_tokens
                                : context_tokens;
  const auto fits = [&](std::int64_t grains) {
    question.context_tokens = grains * kContextGrain;
    return predict_inference(model, question).total() <= hardware.budget_bytes;
  };
  verdict.largest_context =
      largest(std::max<std::int64_t>(1, most / kContextGrain), fits) *
      kContextGrain;
  return verdict;
}

}  // namespace roofline
