// A training run: batches in, an adapter (or a whole model) out. It reports as
// it goes, keeps checkpoints, and can go on from one as if it had never
// stopped.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "roofline/model/trainable_decoder.h"
#include "roofline/train/batches.h"
#include "roofline/train/dataset.h"
#include "roofline/train/event_file.h"
#include "roofline/train/metrics.h"
#include "roofline/train/objective.h"
#include "roofline/train/options.h"
#include "roofline/train/parameters.h"
#include "roofline/train/run_setup.h"
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
  std::optional<double> test_loss;  ///< of the last weights
};

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

  int steps() const { return steps_; }
  Parameters& parameters() { return parameters_; }

  /// Data to be told the loss of after the last step; they must outlive this.
  void test_on(const Dataset& data) { test_ = &data; }

  /// As Objective::follow().
  void follow(TrainableDecoder& teacher) { objective_.follow(teacher); }

  /// Goes on from the checkpoint in the output folder. Throws what load_run()
  /// throws.
  void resume();

  /// Runs to the last step, or until `stop` is true; both ways a checkpoint
  /// and the result are in the output folder then. Throws UserError when the
  /// loss is no number or diverges; the checkpoint is the last good one.
  TrainResult run(const std::atomic<bool>& stop);

  /// One step (from 1): its gradient, and the update. Within run() it keeps
  /// what was due before, once the gradient is known; else nothing on disk.
  /// Throws UserError as run().
  StepFigures step(int number);

  /// One step's mean loss and gradient, without changing anything (for tests).
  /// batches: of examples' indices; together they are one large batch.
  double gradient_of(
      const std::vector<std::vector<int>>& batches,
      int step,
      std::vector<std::vector<float>>& gradient) {
    return objective_.gradient_of(train_, batches, step, gradient);
  }
  /// Mean loss of a data set.
  double evaluate(const Dataset& data) { return objective_.evaluate(data); }

 private:
  void find_references();
  void check_loss(double loss, double norm);
  void keep(const RunState& state, bool last);
  void keep_best(double valid_loss);
  void save_result(const std::filesystem::path& folder);
  void tell_what_is_replaced() const;
  void record(const StepFigures& figures);
  void note(const std::string& text) const;
  RunState expected() const;

  const Checkpoint& checkpoint_;
  const Dataset& train_;
  const Dataset* valid_;
  const Dataset* test_ = nullptr;
  TrainOptions options_;
  TrainEvents events_;
  Parameters parameters_;
  std::unique_ptr<Optimizer> optimizer_;
  Objective objective_;
  BatchStream stream_;
  RunState state_;
  /// To be kept when the next step's loss has shown that its weights are good.
  std::optional<RunState> due_;
  int steps_ = 0;
  std::optional<Metrics> metrics_;
  std::optional<EventFile> event_file_;
  bool figures_lost_ = false;  ///< told already
  bool resumed_ = false;
  std::optional<int> kept_step_;  ///< of the checkpoint on disk
  std::vector<std::vector<float>> gradient_;
};

}  // namespace roofline
