#include "roofline/model/decoder.h"

#include <algorithm>
#include <cstdlib>
#include <limits>

#include <mlx/device.h>

#include "roofline/base/errors.h"
#include "roofline/model/cpu_decoder.h"
#include "roofline/model/graph_decoder.h"
#include "roofline/spec/tensor_parts.h"

namespace roofline {

int QuantizeChoice::bits_of(std::string_view name, int layers) const {
  return belongs_to_parts(name, layers, eight_bit) ? 8 : bits;
}

namespace {

mx::Device pick_device(const ModelOptions& options) {
  const bool has_gpu = mx::is_available(mx::Device::gpu);
  if (options.device == DeviceChoice::gpu && !has_gpu) {
    fail<UnsupportedError>(
        "There is no GPU to run on",
        "The MLX library in use offers only the CPU",
        "Run with --device cpu, or install MLX with a GPU backend (the extra "
        "cuda12 or cuda13 on Linux).");
  }
  const bool cpu =
      options.device == DeviceChoice::cpu || options.graph_on_cpu || !has_gpu;
  return cpu ? mx::Device::cpu : mx::Device::gpu;
}

/// MLX multiplies float32 matrices with 10-bit mantissas on NVIDIA unless told
/// otherwise; it reads this once, at its first product.
void ask_for_whole_floats() {
  ::setenv("MLX_ENABLE_TF32", "0", 1);
}

}  // namespace

std::unique_ptr<Decoder> Decoder::load(
    const Checkpoint& checkpoint,
    const ModelOptions& options) {
  require_runnable(checkpoint.spec());
  if (options.quantize) {
    check_matrix_parts(
        options.quantize->eight_bit,
        static_cast<int>(checkpoint.spec().layers.size()));
  }
  const auto device = pick_device(options);
  if (options.exact) {
    ask_for_whole_floats();
  }
  mx::set_default_device(device);
  if (device == mx::Device::cpu && !options.graph_on_cpu &&
      !missing_in_cpu_step(checkpoint.spec())) {
    return load_cpu_decoder(checkpoint, options);
  }
  return load_graph_decoder(checkpoint, options, device);
}

std::int64_t Decoder::regime_end(std::int64_t tokens) const {
  auto end = std::numeric_limits<std::int64_t>::max();
  for (const auto& layer : spec().layers) {
    if (!layer.attention || !layer.attention->rope) {
      continue;
    }
    const auto& regimes = layer.attention->rope->regimes;
    for (std::size_t i = 0; i + 1 < regimes.size(); ++i) {
      if (tokens <= regimes[i].max_tokens) {
        end = std::min(end, regimes[i].max_tokens + 1);
        break;
      }
    }
  }
  return end;
}

}  // namespace roofline
