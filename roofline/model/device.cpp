#include "roofline/model/device.h"

#include <cstdlib>

#include "roofline/base/errors.h"

namespace roofline {

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

}  // namespace

mx::Device prepare_device(const ModelOptions& options) {
  const auto device = pick_device(options);
  if (options.exact) {
    // MLX multiplies float32 matrices with 10-bit mantissas on NVIDIA unless
    // told otherwise; it reads this once, at its first product.
    ::setenv("MLX_ENABLE_TF32", "0", 1);
  }
  mx::set_default_device(device);
  return device;
}

}  // namespace roofline
