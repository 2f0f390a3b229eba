// What the tests of training share: goldens' checkpoints and samples made of
// their ids, so that no tokenizer is needed.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "model/golden.h"
#include "roofline/model/adapter.h"
#include "roofline/model/logits.h"
#include "roofline/train/trainer.h"

namespace roofline::testing {

/// A folder that is there as long as this lives.
class ScratchFolder {
 public:
  explicit ScratchFolder(const std::string& name)
      : path_(
            std::filesystem::temp_directory_path() /
            ("roofline_" + name + "_" + std::to_string(::getpid()))) {
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
  }
  ~ScratchFolder() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline Sample sample_of(std::vector<std::int32_t> ids) {
  Sample sample{std::move(ids), {}};
  sample.learned.assign(sample.ids.size(), 1);
  sample.learned[0] = 0;
  return sample;
}

/// Pieces of a golden's ids, of different lengths.
inline Dataset pieces_of(const Golden& golden) {
  Dataset data;
  for (const auto& [row, begin, end] :
       {std::tuple{0, 0, 40}, {1, 0, 40}, {0, 5, 17}, {1, 11, 30}}) {
    const auto& ids = golden.ids[static_cast<std::size_t>(row)];
    data.examples.push_back(
        {sample_of({ids.begin() + begin, ids.begin() + end}), {}});
  }
  return data;
}

/// On which kernels: MLX's ops are what a GPU runs.
enum class Where { cpu, cpu_in_mlx_ops, gpu };

/// A model with the trainer's options, ready to train.
struct Training {
  Training(
      const Golden& golden,
      const Dataset& data,
      TrainOptions given,
      Where where = Where::cpu)
      : options(std::move(given)),
        decoder(load_trainable(*golden.checkpoint, loading(where))),
        trainer(*golden.checkpoint, *decoder, data, nullptr, options, {}) {}

  TrainableOptions loading(Where where) const {
    ModelSpec spec;
    spec.layers.resize(64);
    auto out = trainable_options(options, spec);
    out.device = where == Where::gpu ? DeviceChoice::gpu : DeviceChoice::cpu;
    out.graph_on_cpu = where == Where::cpu_in_mlx_ops;
    return out;
  }

  TrainOptions options;
  std::unique_ptr<TrainableDecoder> decoder;
  Trainer trainer;
};

inline std::string bytes_of_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

using Gradient = std::vector<std::vector<float>>;

inline TrainOptions small_lora() {
  TrainOptions options;
  options.data = "given";
  options.rank = 4;
  options.alpha = 8;
  options.seed = 7;
  options.batch = 2;
  options.targets = {"q_proj", "v_proj", "down_proj"};
  options.save_every = 0;
  options.evaluate_every = 0;
  return options;
}

/// Moves b away from zero, where a has no gradient.
inline void stir(Trainer& trainer) {
  std::uint64_t state = 3;
  for (auto values : trainer.parameters().values()) {
    for (float& value : values) {
      value +=
          0.05f * static_cast<float>(
                      static_cast<double>(next_random(state)) * 0x1p-63 - 1);
    }
  }
}

inline double largest(const Gradient& gradient) {
  double most = 0;
  for (const auto& each : gradient) {
    for (const float value : each) {
      most = std::max(most, static_cast<double>(std::fabs(value)));
    }
  }
  return most;
}

inline double difference(const Gradient& a, const Gradient& b) {
  double most = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    for (std::size_t k = 0; k < a[i].size(); ++k) {
      most = std::max(most, static_cast<double>(std::fabs(a[i][k] - b[i][k])));
    }
  }
  return most;
}

/// In full precision, with the adapters attached.
inline std::vector<float> logits_with(
    const Checkpoint& checkpoint,
    const std::vector<AdapterChoice>& adapters,
    std::span<const std::int32_t> ids) {
  ModelOptions options;
  options.device = DeviceChoice::cpu;
  options.exact = true;
  options.cache_packed = false;
  const auto decoder = load_with_adapters(checkpoint, options, adapters);
  return to_host(run_logits(*decoder, ids, 16));
}

}  // namespace roofline::testing
