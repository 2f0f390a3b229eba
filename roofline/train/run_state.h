// A run's checkpoint: everything that the next step depends on, in a folder
// that appears whole. A run that goes on from it does what it would have done.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "roofline/train/optimizer.h"
#include "roofline/train/parameters.h"

namespace roofline {

/// Beside the weights and the optimizer's buffers. The order of the data, what
/// dropout draws and the learning rate follow from the step and the seed.
struct RunState {
  int step = 0;  ///< steps done
  double best_valid_loss = 0;
  bool has_best = false;
  std::vector<double> recent_losses;
  double best_mean_loss = 0;  ///< 0: not known yet
  /// What must be the same when the run goes on.
  std::string settings;
  std::string model;
  std::string data;
};

/// The folder of a run's checkpoint inside its output.
std::filesystem::path checkpoint_folder(const std::filesystem::path& output);

/// Writes the folder; an older one stays until the new one is whole. Throws
/// UserError when the disk is full.
void save_run(
    const std::filesystem::path& folder,
    const RunState& state,
    Parameters& parameters,
    Optimizer& optimizer);

/// Fills parameters and optimizer. Throws UserError when there is none or it
/// was of other settings, another model or other data; CheckpointError when it
/// is broken.
RunState load_run(
    const std::filesystem::path& folder,
    const RunState& expected,
    Parameters& parameters,
    Optimizer& optimizer);

}  // namespace roofline
