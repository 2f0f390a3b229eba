// A training run: batches in, an adapter (or a whole model) out. It reports as
// it goes, keeps checkpoints, and can go on from one as if it had never
// stopped.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "roofline/model/trainable_decoder.h"
#include "roofline/train/batches.h"
#include "roofline/train/dataset.h"
#include "roofline/train/metrics.h"
#include "roofline/train/options.h"
#include "roofline/train/parameters.h"
#include "roofline/train/run_state.h"

namespace roofline {

struct TrainEvents {
  /// After each step.
  std::function<void(const StepFigures&, int steps)> on_step;
  /// Something worth a line: a checkpoint that couldn't be written, a best.
  std::function<void(const std::string&)> on_note;
};

struct TrainResult {
  int steps = 0;         ///< done in all
  bool stopped = false;  ///< asked to before the last one
  std::optional<double> valid_loss;
  std::optional<double> best_valid_loss;
};

/// What load_trainable needs for these options.
TrainableOptions trainable_options(
    const TrainOptions& options,
    const ModelSpec& spec);

/// How these options make batches.
BatchOptions batch_options(const TrainOptions& options);

/// Whether a run with these options computes on a GPU.
bool trains_on_gpu(const TrainOptions& options);

/// The most memory the run held: of the GPU where it computes there, else of
/// the process. Bytes.
double peak_training_memory(const TrainOptions& options);

class Trainer {
 public:
  /// All of these must outlive the trainer. valid may be null.
  Trainer(
      const Checkpoint& checkpoint,
      TrainableDecoder& decoder,
      const Dataset& train,
      const Dataset* valid,
      const TrainOptions& options,
      TrainEvents events);
  ~Trainer();

  int steps() const { return steps_; }
  Parameters& parameters() { return parameters_; }

  /// A model that the batches' rows are to follow (distillation); it must
  /// outlive the trainer. Throws UserError when its vocabulary has another
  /// size.
  void follow(TrainableDecoder& teacher);

  /// Goes on from the checkpoint in the output folder. Throws what load_run()
  /// throws.
  void resume();

  /// Runs to the last step, or until `stop` is true; both ways a checkpoint
  /// and the result are in the output folder then. Throws UserError when the
  /// loss is no number or diverges; the checkpoint is the last good one.
  TrainResult run(const std::atomic<bool>& stop);

  /// One step's mean loss and gradient, without changing anything (for tests).
  /// batches: of examples' indices; together they are one large batch.
  double gradient_of(
      const std::vector<std::vector<int>>& batches,
      int step,
      std::vector<std::vector<float>>& gradient);
  /// Mean loss of a data set.
  double evaluate(const Dataset& data);

 private:
  struct Batch;
  class Stream;

  Batch make_batch(const Dataset& data, const std::vector<int>& examples) const;
  void weigh(std::vector<Batch>& batches) const;
  double batch_gradient(
      const Batch& batch,
      std::vector<std::vector<float>>& gradient,
      bool first);
  StepFigures step(int number);
  void find_reference(const Dataset& data);
  void ask_teacher(Batch& batch) const;
  TokenLoss loss_of(const Batch& batch, LossGradient gradient) const;
  void check_loss(double loss, double norm);
  void keep(bool last);
  void keep_best(double valid_loss);
  void save_result(const std::filesystem::path& folder);
  void note(const std::string& text) const;
  RunState expected() const;

  const Checkpoint& checkpoint_;
  TrainableDecoder& decoder_;
  TrainableDecoder* teacher_ = nullptr;
  const Dataset& train_;
  const Dataset* valid_;
  TrainOptions options_;
  TrainEvents events_;
  Parameters parameters_;
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<Stream> stream_;
  RunState state_;
  int steps_ = 0;
  std::optional<Metrics> metrics_;
  std::vector<std::vector<float>> gradient_;
  /// dpo: Σ −log p of every answer before training, chosen and rejected.
  using Reference = std::vector<std::pair<double, double>>;
  std::map<const Dataset*, Reference> references_;
};

}  // namespace roofline
