#include "roofline/train/run_setup.h"

#include <mlx/memory.h>

#include "roofline/base/memory.h"
#include "roofline/model/device.h"
#include "roofline/train/parameters.h"

namespace roofline {

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

double training_memory(const TrainOptions& options) {
  return static_cast<double>(
      runs_on_gpu(options.device) ? mx::get_active_memory() : resident_bytes());
}

double peak_training_memory(const TrainOptions& options) {
  return static_cast<double>(
      runs_on_gpu(options.device) ? mx::get_peak_memory()
                                  : peak_resident_bytes());
}

}  // namespace roofline
