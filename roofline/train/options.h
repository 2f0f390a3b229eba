// What a training run is asked to do, as a plain value, and the table of its
// settings: one row gives the flag of the command line, the key of a TOML file
// and what is written beside a run, so that the three can't differ.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "roofline/model/decoder.h"
#include "roofline/train/optimizer.h"

namespace roofline {

enum class AdaptMethod { lora, qlora, dora, full };
enum class LossName { cross_entropy, dpo, orpo };
enum class ScheduleName { constant, cosine, linear };
/// Of products with frozen weights, on a GPU of what lies between them too; all
/// else is float32.
enum class Precision { float32, bf16 };
/// What becomes of samples that are longer than max_tokens.
enum class LongSamples { truncate, split };

struct TrainOptions {
  std::string model;  ///< empty: the bundled one
  std::string data;   ///< a folder with train.jsonl, or a file
  std::string output = "adapter";
  AdaptMethod method = AdaptMethod::lora;
  int rank = 8;
  float alpha = 16.0f;
  float dropout = 0.0f;
  std::vector<std::string> targets = {"q_proj", "k_proj", "v_proj", "o_proj"};
  int layers = 0;  ///< the last so many are trained; 0: all

  OptimizerOptions optimizer;
  double learning_rate = 1e-4;
  ScheduleName schedule = ScheduleName::constant;
  int warmup = 0;         ///< steps
  double final_rate = 0;  ///< share of the learning rate at the end
  double clip = 1.0;      ///< most norm of the gradient; 0: none

  int batch = 4;
  int accumulate = 1;  ///< batches to one step
  int max_tokens = 512;
  int steps = 0;  ///< 0: as many as the epochs have
  double epochs = 1;
  bool pack = false;
  bool mask_prompt = true;
  LongSamples long_samples = LongSamples::truncate;
  bool shuffle = true;
  std::uint64_t seed = 0;
  bool checkpoint_layers = false;  ///< recompute layers instead of keeping
  Precision precision = Precision::float32;
  DeviceChoice device = DeviceChoice::automatic;

  LossName loss = LossName::cross_entropy;
  double beta = 0.1;           ///< dpo, orpo: strength
  std::string teacher;         ///< a model to follow; empty: none
  float temperature = 2.0f;    ///< of both in distillation
  float teacher_share = 0.5f;  ///< of the divergence in the loss

  int save_every = 100;     ///< steps; 0: only at the end
  int evaluate_every = 50;  ///< steps; 0: only at the end
  int report_every = 10;
  std::string tensorboard;  ///< folder for event files; empty: none
  /// Stop when the mean loss is so many times its best.
  double diverged = 3.0;
};

/// One setting.
struct TrainSetting {
  std::string_view name;   ///< "learning-rate": flag and key
  std::string_view type;   ///< for help: "N", "NAME", …
  std::string_view group;  ///< in help
  std::string_view help;
  /// Reads a text. Throws UserError that names the setting and what it takes.
  std::function<void(TrainOptions&, const std::string&)> set;
  std::function<std::string(const TrainOptions&)> get;
};

std::span<const TrainSetting> train_settings();

/// Throws UserError with the nearest names for an unknown one.
void set_train_option(
    TrainOptions& options,
    std::string_view name,
    const std::string& text);

/// Reads a file with the names above, of TOML ("learning-rate = 1e-4") or,
/// where it ends in .yaml or .yml, of YAML ("learning-rate: 1e-4"); lists as
/// such; underscores count as hyphens. Throws UserError with the line.
void read_train_file(TrainOptions& options, const std::filesystem::path& path);

/// All settings as such a file of TOML.
std::string train_file_text(const TrainOptions& options);

/// Throws UserError when values don't go together.
void validate(const TrainOptions& options);

/// The learning rate of a step (from 1) of `steps`.
double learning_rate_at(const TrainOptions& options, int step, int steps);

}  // namespace roofline
