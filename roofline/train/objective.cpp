#include "roofline/train/objective.h"

#include <numeric>

#include <fmt/format.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include "roofline/base/errors.h"
#include "roofline/model/device.h"
#include "roofline/train/preference.h"
#include "roofline/train/run_setup.h"

namespace roofline {

namespace {

bool on_pairs(const TrainOptions& options) {
  return options.loss != LossName::cross_entropy;
}

/// Adds a gradient's values to, or puts them in the place of, what is there.
void take(const mx::array& values, std::vector<float>& sum, bool first) {
  const float* from = values.data<float>();
  for (std::size_t k = 0; k < sum.size(); ++k) {
    sum[k] = first ? from[k] : sum[k] + from[k];
  }
}

}  // namespace

Objective::Objective(
    TrainableDecoder& decoder,
    Parameters& parameters,
    const TrainOptions& options)
    : decoder_(decoder), parameters_(parameters), options_(options) {}

/// Samples on their way through the model.
struct Objective::Batch {
  PackedBatch packed;
  std::int64_t tokens = 0;
};

Objective::Batch Objective::make_batch(
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
void Objective::weigh(std::vector<Batch>& batches) const {
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

void Objective::follow(TrainableDecoder& teacher) {
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
void Objective::ask_teacher(Batch& batch) const {
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

TokenLoss Objective::loss_of(const Batch& batch, LossGradient gradient) const {
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

/// A part at a time, so that what it was made of is given back before the next
/// one is begun, and no gradient is there twice. A GPU has the next part to do
/// while one is taken from it.
void Objective::take_parts(
    std::vector<mx::array> values,
    std::vector<std::vector<float>>& gradient,
    bool first) const {
  const auto parts = parameters_.way_back();
  const bool ahead = runs_on_gpu(options_.device);
  std::vector<std::vector<mx::array>> begun(parts.size());
  const auto begin = [&](std::size_t at) {
    for (const int i : parts[at]) {
      auto& value = values[static_cast<std::size_t>(i)];
      begun[at].push_back(mx::contiguous(value));
      value = mx::array(0.0f);
    }
    mx::async_eval(begun[at]);
  };
  begin(0);
  for (std::size_t at = 0; at < parts.size(); ++at) {
    if (ahead && at + 1 < parts.size()) {
      begin(at + 1);
    }
    for (std::size_t k = 0; k < parts[at].size(); ++k) {
      begun[at][k].wait();
      take(
          begun[at][k],
          gradient[static_cast<std::size_t>(parts[at][k])],
          first);
    }
    begun[at].clear();
    if (!ahead && at + 1 < parts.size()) {
      begin(at + 1);
    }
  }
}

/// The batch's share of the loss; its gradient is added to, or replaces, what
/// is there.
double Objective::batch_gradient(
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
  mx::eval(losses[0]);
  take_parts(std::move(gradients), gradient, first);
  return losses[0].item<float>();
}

double Objective::gradient_of(
    const Dataset& data,
    const std::vector<std::vector<int>>& examples,
    int step,
    std::vector<std::vector<float>>& gradient) {
  std::vector<Batch> batches;
  for (const auto& each : examples) {
    batches.push_back(make_batch(data, each));
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

double Objective::evaluate(const Dataset& data) {
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

void Objective::find_reference(const Dataset& data) {
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

}  // namespace roofline
