// What a step minimizes: batches made of samples, their loss through the
// model, and its gradient. It changes no values; the trainer does.
#pragma once

#include <map>
#include <utility>
#include <vector>

#include "roofline/model/trainable_decoder.h"
#include "roofline/train/batches.h"
#include "roofline/train/dataset.h"
#include "roofline/train/options.h"
#include "roofline/train/parameters.h"

namespace roofline {

class Objective {
 public:
  /// All of these must outlive it.
  Objective(
      TrainableDecoder& decoder,
      Parameters& parameters,
      const TrainOptions& options);

  /// A model that the batches' rows are to follow (distillation); it must
  /// outlive this. Throws UserError when its vocabulary has another size.
  void follow(TrainableDecoder& teacher);

  /// For dpo: what the model without the adapter says about the data's pairs.
  void find_reference(const Dataset& data);
  bool has_references() const { return !references_.empty(); }

  /// The mean loss of batches of examples' indices, which together are one
  /// large batch, and its gradient, an entry for each of the parameters.
  /// step: what dropout draws depends on it.
  double gradient_of(
      const Dataset& data,
      const std::vector<std::vector<int>>& batches,
      int step,
      std::vector<std::vector<float>>& gradient);

  /// Mean loss of a data set.
  double evaluate(const Dataset& data);

 private:
  struct Batch;

  Batch make_batch(const Dataset& data, const std::vector<int>& examples) const;
  void weigh(std::vector<Batch>& batches) const;
  double batch_gradient(
      const Batch& batch,
      std::vector<std::vector<float>>& gradient,
      bool first);
  void take_parts(
      std::vector<mx::array> values,
      std::vector<std::vector<float>>& gradient,
      bool first) const;
  void ask_teacher(Batch& batch) const;
  TokenLoss loss_of(const Batch& batch, LossGradient gradient) const;

  TrainableDecoder& decoder_;
  TrainableDecoder* teacher_ = nullptr;
  Parameters& parameters_;
  const TrainOptions& options_;
  /// dpo: Σ −log p of every answer before training, chosen and rejected.
  using Reference = std::vector<std::pair<double, double>>;
  std::map<const Dataset*, Reference> references_;
};

}  // namespace roofline
