#include "roofline/train/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>

#include <fmt/format.h>
#include <mlx/device.h>
#include <mlx/memory.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include "roofline/base/atomic_file.h"
#include "roofline/base/errors.h"
#include "roofline/base/memory.h"
#include "roofline/train/fuse.h"
#include "roofline/train/preference.h"

namespace roofline {

namespace {

namespace fs = std::filesystem;

/// Losses that are averaged to see whether training diverges.
constexpr std::size_t kMeanOf = 20;

bool on_pairs(const TrainOptions& options) {
  return options.loss != LossName::cross_entropy;
}

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
                      row.name.ends_with("-every") || row.name == "diverged";
    if (!free) {
      text += fmt::format("{} = {}\n", row.name, row.get(options));
    }
  }
  return text;
}

}  // namespace

BatchOptions batch_options(const TrainOptions& options) {
  return {
      options.batch,
      options.pack,
      options.max_tokens,
      options.shuffle,
      options.seed};
}

TrainableOptions trainable_options(
    const TrainOptions& options,
    const ModelSpec& spec) {
  TrainableOptions out;
  out.device = options.device;
  if (options.precision == Precision::bf16) {
    out.products = LinearMode::bf16;
    out.half_activations = true;
  }
  if (options.method == AdaptMethod::qlora) {
    out.quantize = QuantizeChoice{};  // floats; codes stay as they are
  }
  if (options.method == AdaptMethod::full) {
    const auto layers = static_cast<int>(spec.layers.size());
    out.trained = [layers, last = options.layers](std::string_view name) {
      return is_trained_name(name, layers, last);
    };
  }
  return out;
}

bool trains_on_gpu(const TrainOptions& options) {
  return options.device != DeviceChoice::cpu &&
         mx::is_available(mx::Device::gpu);
}

double peak_training_memory(const TrainOptions& options) {
  return static_cast<double>(
      trains_on_gpu(options) ? mx::get_peak_memory() : peak_resident_bytes());
}

/// Samples on their way through the model.
struct Trainer::Batch {
  PackedBatch packed;
  std::int64_t tokens = 0;
};

/// The batches of all epochs, one after the other.
class Trainer::Stream {
 public:
  Stream(const Dataset& data, const TrainOptions& options)
      : inputs_(data.inputs()), options_(batch_options(options)) {
    open(0, 0);
  }

  std::size_t per_epoch() const { return plan_.size(); }
  int inputs(int example) const {
    return inputs_[static_cast<std::size_t>(example)];
  }

  const std::vector<int>& at(std::int64_t index) {
    if (index < first_) {
      open(0, 0);
    }
    while (index >= first_ + static_cast<std::int64_t>(plan_.size())) {
      open(epoch_ + 1, first_ + static_cast<std::int64_t>(plan_.size()));
    }
    return plan_[static_cast<std::size_t>(index - first_)];
  }

 private:
  void open(int epoch, std::int64_t first) {
    epoch_ = epoch;
    first_ = first;
    plan_ = plan_epoch(inputs_, options_, epoch);
  }

  std::vector<int> inputs_;
  BatchOptions options_;
  int epoch_ = 0;
  std::int64_t first_ = 0;
  std::vector<std::vector<int>> plan_;
};

Trainer::Trainer(
    const Checkpoint& checkpoint,
    TrainableDecoder& decoder,
    const Dataset& train,
    const Dataset* valid,
    const TrainOptions& options,
    TrainEvents events)
    : checkpoint_(checkpoint),
      decoder_(decoder),
      train_(train),
      valid_(valid),
      options_(options),
      events_(std::move(events)),
      parameters_(decoder, options),
      optimizer_(Optimizer::make(options.optimizer, parameters_.shapes())),
      stream_(std::make_unique<Stream>(train, options)) {
  steps_ = options.steps;
  if (steps_ == 0) {
    const auto batches =
        options.epochs * static_cast<double>(stream_->per_epoch());
    steps_ = std::max(
        1,
        static_cast<int>(std::ceil(batches / options.accumulate - 1e-9)));
  }
  for (const auto& shape : parameters_.shapes()) {
    gradient_.emplace_back(shape.size(), 0.0f);
  }
  release_freed_memory();  // of loading
}

Trainer::~Trainer() = default;

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

Trainer::Batch Trainer::make_batch(
    const Dataset& data,
    const std::vector<int>& examples) const {
  std::vector<Example> own;
  for (const int index : examples) {
    own.push_back(data.at(static_cast<std::size_t>(index)));
  }
  std::vector<const Sample*> samples;
  for (const auto& example : own) {
    samples.push_back(&example.sample);
    if (on_pairs(options_)) {
      samples.push_back(&example.rejected);
    }
  }
  Batch batch{pack_samples(samples), 0};
  batch.tokens = static_cast<std::int64_t>(batch.packed.ids.size());
  if (!on_pairs(options_)) {
    return batch;
  }
  PairRows rows;
  rows.first = batch.packed.first;
  rows.learned = batch.packed.targets->weights;
  const auto found = references_.find(&data);
  for (const int index : examples) {
    if (found != references_.end()) {
      const auto& pair = found->second[static_cast<std::size_t>(index)];
      rows.reference_nll.push_back(pair.first);
      rows.reference_nll.push_back(pair.second);
    }
  }
  batch.packed.targets->reweigh =
      [rows, loss = options_.loss, beta = options_.beta](
          std::span<const float> nll,
          std::span<float> weights) {
        return preference_loss(loss, beta, 1.0, rows, nll, weights);
      };
  return batch;
}

/// The mean is over all tokens (or pairs) of the step, so that its batches are
/// one large batch.
void Trainer::weigh(std::vector<Batch>& batches) const {
  if (on_pairs(options_)) {
    std::size_t pairs = 0;
    for (const auto& batch : batches) {
      pairs += batch.packed.first.size() / 2;
    }
    for (auto& batch : batches) {
      const double share = static_cast<double>(batch.packed.first.size() / 2) /
                           static_cast<double>(pairs);
      const auto inner = batch.packed.targets->reweigh;
      batch.packed.targets->reweigh =
          [inner, share](std::span<const float> nll, std::span<float> weights) {
            const double loss = inner(nll, weights);
            for (float& weight : weights) {
              weight *= static_cast<float>(share);
            }
            return loss * share;
          };
    }
    return;
  }
  std::int64_t learned = 0;
  for (const auto& batch : batches) {
    learned += batch.packed.learned;
  }
  for (auto& batch : batches) {
    for (float& weight : batch.packed.targets->weights) {
      weight /= static_cast<float>(learned);
    }
  }
}

void Trainer::follow(TrainableDecoder& teacher) {
  if (teacher.spec().vocab != decoder_.spec().vocab) {
    fail<UserError>(
        "The teacher has another vocabulary",
        fmt::format(
            "It has {} tokens, the model {}",
            teacher.spec().vocab,
            decoder_.spec().vocab),
        "Give a teacher of the same family");
  }
  teacher_ = &teacher;
}

/// The teacher's rows, once for the batch; its logits come with the loss.
void Trainer::ask_teacher(Batch& batch) const {
  if (teacher_ == nullptr) {
    return;
  }
  auto hidden = mx::contiguous(teacher_->hidden(
      {batch.packed.ids, batch.packed.first},
      KeepLayers::all));
  hidden.eval();
  batch.packed.targets->teacher =
      std::make_shared<const TokenTeacher>(TokenTeacher{
          hidden,
          teacher_->token_head(),
          options_.temperature,
          options_.teacher_share});
}

TokenLoss Trainer::loss_of(const Batch& batch, LossGradient gradient) const {
  const bool again =
      options_.checkpoint_layers && gradient == LossGradient::with;
  const auto hidden = decoder_.hidden(
      {batch.packed.ids, batch.packed.first},
      again ? KeepLayers::none : KeepLayers::all);
  return token_loss(
      hidden,
      decoder_.token_head(),
      batch.packed.targets,
      gradient);
}

/// The batch's share of the loss; its gradient is added to, or replaces, what
/// is there.
double Trainer::batch_gradient(
    const Batch& batch,
    std::vector<std::vector<float>>& gradient,
    bool first) {
  std::vector<int> all(parameters_.count());
  std::iota(all.begin(), all.end(), 0);
  const auto arrays = parameters_.arrays();
  const auto run = [&](const std::vector<mx::array>& in) {
    parameters_.place(in);
    const auto loss = loss_of(batch, LossGradient::with).loss;
    return std::vector<mx::array>{mx::reshape(loss, {})};
  };
  auto [losses, gradients] = mx::value_and_grad(run, all)(arrays);
  parameters_.place(arrays);
  std::vector<mx::array> wanted = gradients;
  wanted.push_back(losses[0]);
  mx::eval(wanted);
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    mx::array flat = mx::contiguous(gradients[i]);
    mx::eval(flat);
    const float* from = flat.data<float>();
    for (std::size_t k = 0; k < gradient[i].size(); ++k) {
      gradient[i][k] = first ? from[k] : gradient[i][k] + from[k];
    }
  }
  return losses[0].item<float>();
}

double Trainer::gradient_of(
    const std::vector<std::vector<int>>& examples,
    int step,
    std::vector<std::vector<float>>& gradient) {
  std::vector<Batch> batches;
  for (const auto& each : examples) {
    batches.push_back(make_batch(train_, each));
  }
  weigh(batches);
  gradient.resize(parameters_.count());
  for (std::size_t i = 0; i < gradient.size(); ++i) {
    gradient[i].resize(parameters_.shapes()[i].size());
  }
  double loss = 0;
  for (std::size_t i = 0; i < batches.size(); ++i) {
    std::uint64_t seed =
        options_.seed * 7919 + static_cast<std::uint64_t>(step) * 1000003 + i;
    parameters_.set_dropout(options_.dropout, next_random(seed));
    ask_teacher(batches[i]);
    loss += batch_gradient(batches[i], gradient, i == 0);
    batches[i].packed.targets->teacher.reset();
  }
  parameters_.set_dropout(0.0f, 0);
  parameters_.place(parameters_.arrays());
  return loss;
}

double Trainer::evaluate(const Dataset& data) {
  BatchOptions options = batch_options(options_);
  options.shuffle = false;
  double sum = 0;
  double count = 0;
  for (const auto& examples : plan_epoch(data.inputs(), options, 0)) {
    std::vector<Batch> batches;
    batches.push_back(make_batch(data, examples));
    weigh(batches);
    auto loss = loss_of(batches[0], LossGradient::none).loss;
    const auto own = on_pairs(options_)
                         ? static_cast<double>(examples.size())
                         : static_cast<double>(batches[0].packed.learned);
    sum += own * loss.item<float>();
    count += own;
  }
  return sum / count;
}

void Trainer::find_reference(const Dataset& data) {
  auto& reference = references_[&data];
  parameters_.remove();
  for (std::size_t i = 0; i < data.size(); ++i) {
    const Example example = data.at(i);
    double sums[2] = {};
    int which = 0;
    for (const auto* sample : {&example.sample, &example.rejected}) {
      const Batch batch{pack_samples(std::span(&sample, 1)), 0};
      const auto nll = mx::sum(loss_of(batch, LossGradient::none).nll);
      sums[which++] = mx::array(nll).item<float>();
    }
    reference.emplace_back(sums[0], sums[1]);
  }
  parameters_.place(parameters_.arrays());
}

void Trainer::resume() {
  if (options_.loss == LossName::dpo && options_.method == AdaptMethod::full) {
    find_reference(train_);  // while the weights are those of the model
    if (valid_ != nullptr) {
      find_reference(*valid_);
    }
  }
  state_ = load_run(
      checkpoint_folder(options_.output),
      expected(),
      parameters_,
      *optimizer_);
  parameters_.place(parameters_.arrays());
}

StepFigures Trainer::step(int number) {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  StepFigures figures;
  figures.step = number;
  std::vector<std::vector<int>> examples;
  for (int i = 0; i < options_.accumulate; ++i) {
    const auto index =
        static_cast<std::int64_t>(number - 1) * options_.accumulate + i;
    examples.push_back(stream_->at(index));
    for (const int each : examples.back()) {
      figures.tokens += stream_->inputs(each);
    }
  }
  figures.loss = gradient_of(examples, number, gradient_);
  std::vector<std::span<float>> spans(gradient_.begin(), gradient_.end());
  figures.gradient_norm = clip_gradients(spans, options_.clip);
  check_loss(figures.loss, figures.gradient_norm);
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
  figures.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  figures.memory_bytes = static_cast<double>(
      trains_on_gpu(options_) ? mx::get_active_memory() : resident_bytes());
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
void Trainer::keep(bool last) {
  try {
    save_run(
        checkpoint_folder(options_.output),
        state_,
        parameters_,
        *optimizer_);
    if (options_.method != AdaptMethod::full) {
      save_result(options_.output);
    } else if (last) {
      save_result(fs::path(options_.output) / "model");
    }
  } catch (const UserError& error) {
    if (last) {
      throw;
    }
    note(fmt::format(
        "The checkpoint of step {} wasn't written; the one before stays. {}",
        state_.step,
        error.what()));
  }
}

void Trainer::keep_best(double valid_loss) {
  if (state_.has_best && valid_loss >= state_.best_valid_loss) {
    return;
  }
  state_.has_best = true;
  state_.best_valid_loss = valid_loss;
  try {
    save_result(fs::path(options_.output) / "best");
  } catch (const UserError& error) {
    note(fmt::format("The best weights weren't written. {}", error.what()));
  }
}

TrainResult Trainer::run(const std::atomic<bool>& stop) {
  const fs::path output = options_.output;
  fs::create_directories(output);
  const RunState fresh = expected();
  state_.settings = fresh.settings;
  state_.model = fresh.model;
  state_.data = fresh.data;
  const std::string settings = train_file_text(options_);
  write_file_atomically(
      output / "train.toml",
      std::as_bytes(std::span(settings)));
  if (options_.loss == LossName::dpo && references_.empty()) {
    find_reference(train_);
    if (valid_ != nullptr) {
      find_reference(*valid_);
    }
  }
  metrics_.emplace(output, state_.step);
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
    metrics_->add(figures);
    if (events_.on_step) {
      events_.on_step(figures, steps_);
    }
    if (due(options_.save_every, state_.step) && state_.step < steps_) {
      keep(false);
    }
  }
  keep(true);
  result.steps = state_.step;
  result.stopped = state_.step < steps_;
  if (state_.has_best) {
    result.best_valid_loss = state_.best_valid_loss;
  }
  return result;
}

}  // namespace roofline
