#include "roofline/cli/train_plan.h"

#include <algorithm>
#include <functional>
#include <optional>

#include <fmt/format.h>
#include <mlx/memory.h>

#include "roofline/base/thread_pool.h"
#include "roofline/cli/output.h"
#include "roofline/model/device.h"
#include "roofline/plan/machine.h"
#include "roofline/plan/machine_facts.h"
#include "roofline/plan/memory.h"
#include "roofline/train/trainer.h"

namespace roofline::cli {

namespace {

/// One way to take less, cheapest first; returns what changed.
using Change = std::function<std::optional<std::string>(TrainOptions&)>;

std::optional<std::string> keep_less(TrainOptions& o) {
  if (o.checkpoint_layers) {
    return std::nullopt;
  }
  o.checkpoint_layers = true;
  return "--checkpoint-layers on";
}

/// Half the batch, twice as often: the same steps.
std::optional<std::string> halve_batch(TrainOptions& o) {
  if (o.batch < 2) {
    return std::nullopt;
  }
  o.accumulate *= o.batch % 2 == 0 ? 2 : o.batch;
  o.batch = o.batch % 2 == 0 ? o.batch / 2 : 1;
  return fmt::format("--batch {} --accumulate {}", o.batch, o.accumulate);
}

std::optional<std::string> smaller_states(TrainOptions& o) {
  if (o.optimizer.name != OptimizerName::adamw) {
    return std::nullopt;
  }
  o.optimizer.name = OptimizerName::adamw8;
  return "--optimizer adamw8";
}

std::optional<std::string> lower_rank(TrainOptions& o) {
  if (o.method == AdaptMethod::full || o.rank <= 4) {
    return std::nullopt;
  }
  o.alpha /= 2;  // alpha / rank stays
  o.rank /= 2;
  return fmt::format("--rank {} --alpha {}", o.rank, o.alpha);
}

std::optional<std::string> adapt_only(TrainOptions& o) {
  if (o.method != AdaptMethod::full) {
    return std::nullopt;
  }
  o.method = AdaptMethod::lora;
  return "--method lora";
}

std::optional<std::string> shorter(TrainOptions& o) {
  if (o.max_tokens <= 128) {
    return std::nullopt;
  }
  o.max_tokens /= 2;
  return fmt::format("--max-tokens {} --long split", o.max_tokens);
}

OptimizerKind kind_of(OptimizerName name) {
  switch (name) {
    case OptimizerName::sgd:
      return OptimizerKind::sgd;
    case OptimizerName::adamw8:
      return OptimizerKind::adamw8;
    case OptimizerName::lion:
      return OptimizerKind::lion;
    case OptimizerName::muon:
      return OptimizerKind::muon;
    case OptimizerName::adafactor:
      return OptimizerKind::adafactor;
    default:
      return OptimizerKind::adamw;
  }
}

TrainMethod method_of(AdaptMethod method) {
  switch (method) {
    case AdaptMethod::full:
      return TrainMethod::full;
    case AdaptMethod::qlora:
      return TrainMethod::qlora;
    case AdaptMethod::dora:
      return TrainMethod::dora;
    default:
      return TrainMethod::lora;
  }
}

std::int64_t largest_batch_of(const Dataset& data, const TrainOptions& o) {
  const std::int64_t longest = std::int64_t{o.batch} * o.max_tokens *
                               (o.loss == LossName::cross_entropy ? 1 : 2);
  return std::min(largest_batch(data.inputs(), batch_options(o)), longest);
}

/// The planner's question about a run on these data.
TrainingQuestion question_of(const TrainData& data, const TrainOptions& o) {
  TrainingQuestion question;
  question.method = method_of(o.method);
  question.rank = o.rank;
  question.targets = o.targets;
  question.batch = o.batch;
  question.sequence_tokens = o.max_tokens;
  question.batch_tokens = largest_batch_of(data.train, o);
  for (const Dataset* other : {data.valid, data.test}) {
    question.forward_tokens = std::max(
        question.forward_tokens,
        other == nullptr ? 0 : largest_batch_of(*other, o));
  }
  question.writes_model = o.method == AdaptMethod::full;
  question.checkpointing = o.checkpoint_layers;
  question.optimizer = kind_of(o.optimizer.name);
  question.momentum = o.optimizer.momentum != 0;
  question.trained_layers = o.layers;
  question.threads = ThreadPool::global().threads();
  question.gpu = runs_on_gpu(o.device);
  question.card = question.gpu && card_memory_bytes();
  question.precision_bits =
      question.gpu && o.precision == Precision::bf16 ? 16 : 32;
  return question;
}

double teacher_bytes(const TrainOptions& o) {
  double sum = 0;
  if (!o.teacher.empty()) {
    for (const ModelTensor& tensor : plan_model(o.teacher).tensors) {
      sum += static_cast<double>(held_on_cpu_bytes(tensor));
    }
  }
  return sum;
}

/// A multiply-add is two operations, forward as well as for the gradient of
/// what went in, and for that of the weights where they learn.
double operations_per_token(
    const PlannedModel& model,
    const Dataset& train,
    const TrainOptions& o) {
  const double learned =
      static_cast<double>(train.learned_tokens) /
      static_cast<double>(std::max<std::int64_t>(1, train.tokens));
  double sum = 0;
  for (const ModelTensor& tensor : model.tensors) {
    const bool embed = tensor.name == "embed";
    const bool head = tensor.name == "head" || embed;
    if (tensor.rows == 1 || (embed && !model.spec.tied_embeddings)) {
      continue;
    }
    double share = head ? learned : 1.0;
    if (tensor.name.find(".experts.") != std::string::npos) {
      for (const LayerSpec& layer : model.spec.layers) {
        if (layer.feed_forward && layer.feed_forward->mixture) {
          const auto& mixture = *layer.feed_forward->mixture;
          share = 1.0 * mixture.top_k / mixture.experts;
        }
      }
    }
    const double passes = (o.method == AdaptMethod::full ? 3 : 2) +
                          (o.checkpoint_layers && !head ? 1 : 0);
    sum += 2 * passes * share * static_cast<double>(tensor.count());
  }
  return sum;
}

std::string parts_text(const MemoryPrediction& prediction) {
  std::string text;
  for (const auto& part : prediction.parts) {
    if (part.bytes >= 1e6) {
      text += fmt::format(
          "{}{} {}",
          text.empty() ? "" : ", ",
          part.name,
          format_bytes(static_cast<double>(part.bytes)));
    }
  }
  return text;
}

}  // namespace

TrainForecast plan_training(
    const Checkpoint& checkpoint,
    const TrainData& data,
    TrainOptions& options,
    bool fit) {
  const MachineFacts facts = machine_facts();
  const auto budget = static_cast<double>(
      runs_on_gpu(options.device)
          ? mlx::core::get_memory_limit()
          : facts.available_bytes.value_or(facts.memory_bytes));
  TrainForecast out;
  const PlannedModel model = plan_checkpoint("", checkpoint);
  const double teacher = teacher_bytes(options);
  const auto predict = [&](const TrainOptions& o) {
    TrainingQuestion question = question_of(data, o);
    question.teacher_bytes = teacher;
    return predict_training(model, question);
  };
  const auto bytes_of = [&](const TrainOptions& o) {
    return static_cast<double>(predict(o).total());
  };
  out.bytes = bytes_of(options);
  TrainOptions changed = options;
  std::string changes;
  double bytes = out.bytes;
  // --max-tokens last, and never by itself: samples would have to be read anew.
  const Change all[] =
      {keep_less, halve_batch, smaller_states, lower_rank, adapt_only};
  for (const auto& change : all) {
    while (bytes > budget) {
      const auto text = change(changed);
      if (!text) {
        break;
      }
      changes += (changes.empty() ? "" : " ") + *text;
      bytes = bytes_of(changed);
    }
  }
  const bool fits_changed = bytes <= budget;
  if (out.bytes > budget && fit && fits_changed) {
    options = changed;
    out.bytes = bytes;
    out.text = fmt::format("Changed so that it fits: {}\n", changes);
  }
  out.parts = predict(options);
  out.room_bytes = budget;
  out.text += fmt::format(
      "Will take about {} of {} that are free: {}\n",
      format_bytes(out.bytes),
      format_bytes(budget),
      parts_text(out.parts));
  out.operations_per_token = operations_per_token(model, data.train, options);
  out.fits = out.bytes <= budget;
  if (!out.fits) {
    const auto text = shorter(changed);
    out.shortage = fmt::format(
        "It would take about {}, and {} are free: {} too little",
        format_bytes(out.bytes),
        format_bytes(budget),
        format_bytes(out.bytes - budget));
    out.advice = fits_changed ? fmt::format(
                                    "Add {} ({}), or --fit, which does so",
                                    changes,
                                    format_bytes(bytes))
                 : text ? fmt::format("Try {}, or a smaller model", *text)
                        : std::string("Take a smaller or a quantized model");
  }
  return out;
}

nlohmann::ordered_json forecast_json(
    const TrainForecast& forecast,
    const Dataset& train,
    const TrainOptions& options) {
  auto parts = nlohmann::ordered_json::array();
  for (const MemoryPart& part : forecast.parts.parts) {
    parts.push_back(
        {{"name", part.name}, {"kind", part.kind}, {"bytes", part.bytes}});
  }
  auto settings = nlohmann::ordered_json::object();
  for (const TrainSetting& setting : train_settings()) {
    settings[std::string(setting.name)] = setting.get(options);
  }
  return {
      {"dry_run", true},
      {"samples", train.size()},
      {"tokens", train.tokens},
      {"learned_tokens", train.learned_tokens},
      {"predicted_peak_bytes", forecast.bytes},
      {"free_bytes", forecast.room_bytes},
      {"parts", parts},
      {"settings", settings}};
}

}  // namespace roofline::cli
