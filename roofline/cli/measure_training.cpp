#include "roofline/cli/measure_training.h"

#include <fmt/format.h>

#include "roofline/cli/command.h"
#include "roofline/cli/output.h"
#include "roofline/report/progress.h"
#include "roofline/train/trainer.h"
#include "roofline/weights/random_checkpoint.h"

namespace roofline::cli {

namespace {

/// The optimizer's memory is there after one step, the next one has it beside
/// all the rest.
constexpr int kSteps = 2;

AdaptMethod method_of(TrainMethod method) {
  switch (method) {
    case TrainMethod::full:
      return AdaptMethod::full;
    case TrainMethod::qlora:
      return AdaptMethod::qlora;
    case TrainMethod::dora:
      return AdaptMethod::dora;
    case TrainMethod::lora:
      break;
  }
  return AdaptMethod::lora;
}

OptimizerName optimizer_of(OptimizerKind kind) {
  switch (kind) {
    case OptimizerKind::sgd:
      return OptimizerName::sgd;
    case OptimizerKind::adamw8:
      return OptimizerName::adamw8;
    case OptimizerKind::lion:
      return OptimizerName::lion;
    case OptimizerKind::adafactor:
      return OptimizerName::adafactor;
    case OptimizerKind::muon:
      return OptimizerName::muon;
    case OptimizerKind::adamw:
      break;
  }
  return OptimizerName::adamw;
}

TrainOptions options_of(const TrainingQuestion& question) {
  TrainOptions options;
  options.data = "random";
  options.method = method_of(question.method);
  options.rank = question.rank;
  options.targets = question.targets;
  options.layers = question.trained_layers;
  options.optimizer.name = optimizer_of(question.optimizer);
  options.batch = question.batch;
  options.max_tokens = static_cast<int>(question.sequence_tokens);
  options.steps = kSteps;
  options.checkpoint_layers = question.checkpointing;
  options.device = question.gpu ? DeviceChoice::gpu : DeviceChoice::cpu;
  options.precision = question.gpu && question.precision_bits == 16
                          ? Precision::bf16
                          : Precision::float32;
  validate(options);
  return options;
}

/// Samples that fill a batch, all of their tokens learnt.
Dataset random_samples(const TrainOptions& options, std::int64_t vocab) {
  Dataset data;
  std::uint64_t state = 1;
  for (int i = 0; i < options.batch; ++i) {
    Sample sample;
    for (int t = 0; t <= options.max_tokens; ++t) {
      sample.ids.push_back(static_cast<std::int32_t>(
          next_random(state) % static_cast<std::uint64_t>(vocab)));
    }
    sample.learned.assign(sample.ids.size(), 1);
    sample.learned[0] = 0;
    data.examples.push_back({std::move(sample), {}});
  }
  return data;
}

std::unique_ptr<Checkpoint> open_subject(
    const PlannedModel& model,
    const TrainingQuestion& question) {
  if (model.path && model.exact) {
    return Checkpoint::open(*model.path);
  }
  RandomFormat format;
  if (const auto& stored = model.spec.quantization) {
    format = {stored->bits, stored->group_size, {}};
  } else if (question.method == TrainMethod::qlora) {
    format = {question.base_format.bits, question.base_format.group_size, {}};
  }
  return make_random_checkpoint(model.spec, format, model.name);
}

/// With a line on a terminal that says how far it is; the seconds of the last
/// step.
double train_shown(Trainer& trainer) {
  Progress progress("Training", notice_on_terminal());
  double seconds = 0;
  for (int step = 1; step <= kSteps; ++step) {
    progress.update((step - 1.0) / kSteps);
    seconds = trainer.step(step).seconds;
  }
  return seconds;
}

}  // namespace

int run_measured_training(
    const PlannedModel& model,
    const TrainingQuestion& question,
    bool json) {
  TrainingQuestion asked = question;
  // Random tokens need no tokenizer.
  asked.constants.tokenizer_per_entry = 0;
  const TrainOptions options = options_of(question);
  const auto checkpoint = open_subject(model, question);
  const MemoryPrediction prediction = predict_training(model, asked);
  auto predicted = static_cast<double>(prediction.total());
  if (!model.exact) {
    predicted -=
        static_cast<double>(prediction.of("loading"));  // codes already
  }
  const Dataset data = random_samples(options, checkpoint->spec().vocab);
  TrainableOptions loading = trainable_options(options, checkpoint->spec());
  if (loading.quantize) {
    loading.quantize->group_size = question.base_format.group_size;
  }
  const auto decoder = load_trainable(*checkpoint, loading);
  Trainer trainer(*checkpoint, *decoder, data, nullptr, options, {});
  const double seconds = train_shown(trainer);
  const double measured = peak_training_memory(options);
  const double error = predicted / measured - 1;
  if (json) {
    write_json(
        {{"model", model.name},
         {"weights", checkpoint->format()},
         {"predicted_bytes", predicted},
         {"measured_bytes", measured},
         {"error", error},
         {"step_seconds", seconds}});
    return kSuccess;
  }
  write_text(fmt::format(
      "{}, {}: peak {}, predicted {} ({:+.1f} %), {:.1f} s a step\n",
      model.name,
      checkpoint->format(),
      format_bytes(measured),
      format_bytes(predicted),
      100 * error,
      seconds));
  return kSuccess;
}

}  // namespace roofline::cli
