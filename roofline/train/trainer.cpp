#include "roofline/train/trainer.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <fmt/format.h>

#include "roofline/base/atomic_file.h"
#include "roofline/base/clock.h"
#include "roofline/base/errors.h"
#include "roofline/base/memory.h"
#include "roofline/train/fuse.h"

namespace roofline {

namespace {

namespace fs = std::filesystem;

/// Losses that are averaged to see whether training diverges.
constexpr std::size_t kMeanOf = 20;

/// Tells one data set from another.
std::string fingerprint(const Dataset& data) {
  std::uint64_t hash = data.fingerprint;
  if (hash == 0) {  // wasn't read from a file
    hash = kNoExamples;
    for (const auto& example : data.examples) {
      hash = mix_example(hash, example);
    }
  }
  return fmt::format("{} samples, {:016x}", data.size(), hash);
}

/// The settings that a resumed run must share with the one it goes on from.
std::string settings_of(const TrainOptions& options) {
  std::string text;
  for (const auto& row : train_settings()) {
    const bool free = row.name == "steps" || row.name == "epochs" ||
                      row.name == "output" || row.name == "data" ||
                      row.name == "model" || row.name == "device" ||
                      row.name.ends_with("-every") || row.name == "diverged" ||
                      row.name == "tensorboard";
    if (!free) {
      text += fmt::format("{} = {}\n", row.name, row.get(options));
    }
  }
  return text;
}

}  // namespace

Trainer::Trainer(
    const Checkpoint& checkpoint,
    TrainableDecoder& decoder,
    const Dataset& train,
    const Dataset* valid,
    const TrainOptions& options,
    TrainEvents events)
    : checkpoint_(checkpoint),
      train_(train),
      valid_(valid),
      options_(options),
      events_(std::move(events)),
      parameters_(decoder, options),
      optimizer_(Optimizer::make(options.optimizer, parameters_.shapes())),
      objective_(decoder, parameters_, options_),
      stream_(train.inputs(), batch_options(options)) {
  if (options.method == AdaptMethod::full) {
    require_place(checkpoint, parameters_.names());
  }
  steps_ = options.steps;
  if (steps_ == 0) {
    const auto batches =
        options.epochs * static_cast<double>(stream_.per_epoch());
    steps_ = std::max(
        1,
        static_cast<int>(std::ceil(batches / options.accumulate - 1e-9)));
  }
  for (const auto& shape : parameters_.shapes()) {
    gradient_.emplace_back(shape.size(), 0.0f);
  }
  release_freed_memory();  // of loading
}

void Trainer::note(const std::string& text) const {
  if (events_.on_note) {
    events_.on_note(text);
  }
}

RunState Trainer::expected() const {
  RunState state;
  state.settings = settings_of(options_);
  state.model = checkpoint_.fingerprint();
  state.data = fingerprint(train_);
  return state;
}

void Trainer::find_references() {
  if (options_.loss != LossName::dpo || objective_.has_references()) {
    return;
  }
  objective_.find_reference(train_);
  if (valid_ != nullptr) {
    objective_.find_reference(*valid_);
  }
  if (test_ != nullptr) {
    objective_.find_reference(*test_);
  }
}

void Trainer::resume() {
  if (options_.method == AdaptMethod::full) {
    find_references();  // while the weights are those of the model
  }
  state_ = load_run(
      checkpoint_folder(options_.output),
      expected(),
      parameters_,
      *optimizer_);
  kept_step_ = state_.step;
  resumed_ = true;
  parameters_.place(parameters_.arrays());
}

StepFigures Trainer::step(int number) {
  auto start = Clock::now();
  StepFigures figures;
  figures.step = number;
  std::vector<std::vector<int>> examples;
  for (int i = 0; i < options_.accumulate; ++i) {
    const auto index =
        static_cast<std::int64_t>(number - 1) * options_.accumulate + i;
    examples.push_back(stream_.at(index));
    for (const int each : examples.back()) {
      figures.tokens += stream_.inputs(each);
    }
  }
  figures.loss = gradient_of(examples, number, gradient_);
  std::vector<std::span<float>> spans(gradient_.begin(), gradient_.end());
  figures.gradient_norm = clip_gradients(spans, options_.clip);
  check_loss(figures.loss, figures.gradient_norm);
  if (due_) {
    const auto before = Clock::now();
    keep(*due_, false);
    due_.reset();
    start += Clock::now() - before;
  }
  figures.learning_rate = learning_rate_at(options_, number, steps_);
  const auto values = parameters_.values();
  const std::vector<std::span<const float>> constant(
      spans.begin(),
      spans.end());
  optimizer_->update(
      values,
      constant,
      static_cast<float>(figures.learning_rate),
      number);
  state_.step = number;
  figures.seconds = seconds_since(start);
  figures.memory_bytes = training_memory(options_);
  figures.peak_memory_bytes = peak_training_memory(options_);
  return figures;
}

/// Before the weights are touched, so that the checkpoint stays a good one.
void Trainer::check_loss(double loss, double norm) {
  const auto last_good = [&] {
    std::error_code error;
    const auto folder = checkpoint_folder(options_.output);
    return fs::exists(folder, error)
               ? fmt::format(
                     "The last good checkpoint is in {}",
                     folder.string())
               : std::string("No checkpoint was due before");
  };
  const std::string action =
      last_good() +
      ". Go on from it with --resume, or start again with a lower "
      "--learning-rate";
  if (!std::isfinite(loss) || !std::isfinite(norm)) {
    fail<UserError>(
        fmt::format("The loss of step {} is no number", state_.step + 1),
        "Training has come apart",
        action);
  }
  auto& recent = state_.recent_losses;
  recent.push_back(loss);
  if (recent.size() < kMeanOf) {
    return;
  }
  const double mean =
      std::accumulate(recent.begin(), recent.end(), 0.0) / kMeanOf;
  recent.erase(recent.begin());
  if (state_.best_mean_loss == 0 || mean < state_.best_mean_loss) {
    state_.best_mean_loss = mean;
  }
  if (options_.diverged > 0 &&
      mean > options_.diverged * state_.best_mean_loss) {
    fail<UserError>(
        fmt::format("The loss diverges: {:.3g} at step {}", mean, state_.step),
        fmt::format(
            "Its mean over {} steps was {:.3g} at its best",
            kMeanOf,
            state_.best_mean_loss),
        action);
  }
}

void Trainer::save_result(const fs::path& folder) {
  if (options_.method != AdaptMethod::full) {
    write_adapter(
        parameters_.adapter(options_),
        checkpoint_,
        folder,
        AdapterFormat::mlx_lm);
    return;
  }
  WeightChanges changes;
  const auto values = parameters_.values();
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto cols = parameters_.shapes()[i].cols;
    changes[parameters_.names()[i]] =
        [values = values[i], cols](std::int64_t row, std::span<float> out) {
          const auto at = static_cast<std::size_t>(row) * cols;
          std::copy_n(
              values.begin() + static_cast<std::ptrdiff_t>(at),
              cols,
              out.begin());
        };
  }
  write_changed_model(
      checkpoint_,
      changes,
      folder,
      FuseQuantized::decode,
      /* force = */ true);
}

/// A full disk must not end a run: the older checkpoint is still there.
void Trainer::keep(const RunState& state, bool last) {
  try {
    save_run(
        checkpoint_folder(options_.output),
        state,
        parameters_,
        *optimizer_);
    kept_step_ = state.step;
    if (options_.method != AdaptMethod::full) {
      save_result(options_.output);
    } else if (last) {
      save_result(fs::path(options_.output) / "model");
    }
  } catch (const UserError& error) {
    const auto what = fmt::format(
        "The {} of step {} wasn't written",
        kept_step_ == state.step ? "result" : "checkpoint",
        state.step);
    const auto stays =
        kept_step_ ? fmt::format("The checkpoint of step {} stays", *kept_step_)
                   : std::string("No older one is there");
    if (last) {
      fail<UserError>(
          what,
          error.what(),
          kept_step_ ? stays + ": go on from it with --resume" : stays);
    }
    note(fmt::format("{}. {}. {}", what, stays, error.what()));
  }
}

void Trainer::keep_best(double valid_loss) {
  if (!std::isfinite(valid_loss) ||
      (state_.has_best && valid_loss >= state_.best_valid_loss)) {
    return;
  }
  try {
    save_result(fs::path(options_.output) / "best");
    state_.has_best = true;
    state_.best_valid_loss = valid_loss;
  } catch (const UserError& error) {
    note(fmt::format("The best weights weren't written. {}", error.what()));
  }
}

/// Nor must figures: those that a file had no room for are kept for later. An
/// event file ends there.
void Trainer::record(const StepFigures& figures) {
  try {
    if (event_file_) {
      event_file_->add(figures);
    }
  } catch (const UserError& error) {
    event_file_.reset();
    note(fmt::format("{} TensorBoard gets no more of this run.", error.what()));
  }
  try {
    metrics_->add(figures);
    figures_lost_ = false;
  } catch (const UserError& error) {
    if (!figures_lost_) {
      note(error.what());
    }
    figures_lost_ = true;
  }
}

/// A checkpoint of an earlier run goes when the first of this one comes.
void Trainer::tell_what_is_replaced() const {
  const auto folder = checkpoint_folder(options_.output);
  std::error_code error;
  if (!resumed_ && fs::exists(folder, error)) {
    note(fmt::format(
        "{} has an earlier run's checkpoint, which this one replaces; --resume "
        "would go on from it",
        folder.string()));
  }
}

TrainResult Trainer::run(const std::atomic<bool>& stop) {
  const fs::path output = options_.output;
  tell_what_is_replaced();
  std::error_code error;
  fs::create_directories(output, error);
  if (error) {
    fail<UserError>(
        fmt::format("\"{}\" can't be made", output.string()),
        error.message(),
        "Name another folder");
  }
  const RunState fresh = expected();
  state_.settings = fresh.settings;
  state_.model = fresh.model;
  state_.data = fresh.data;
  const std::string settings = train_file_text(options_);
  write_file_atomically(
      output / "train.toml",
      std::as_bytes(std::span(settings)));
  find_references();
  metrics_.emplace(output, state_.step);
  if (!options_.tensorboard.empty()) {
    event_file_.emplace(options_.tensorboard, state_.step);
  }
  TrainResult result;
  const auto due = [&](int every, int number) {
    return number == steps_ || (every > 0 && number % every == 0);
  };
  while (state_.step < steps_ && !stop) {
    auto figures = step(state_.step + 1);
    if (valid_ != nullptr && due(options_.evaluate_every, state_.step)) {
      figures.valid_loss = evaluate(*valid_);
      result.valid_loss = figures.valid_loss;
      keep_best(*figures.valid_loss);
    }
    record(figures);
    if (events_.on_step) {
      events_.on_step(figures, steps_);
    }
    if (due(options_.save_every, state_.step) && state_.step < steps_) {
      due_ = state_;
    }
  }
  keep(state_, true);
  metrics_->flush();
  result.steps = state_.step;
  result.stopped = state_.step < steps_;
  if (test_ != nullptr && !result.stopped) {
    result.test_loss = evaluate(*test_);
  }
  if (state_.has_best) {
    result.best_valid_loss = state_.best_valid_loss;
  }
  return result;
}

}  // namespace roofline
