#include "roofline/model/device.h"

#include <cstdlib>

#include "roofline/base/errors.h"

namespace roofline {

namespace {

mx::Device pick_device(const ModelOptions& options) {
  const bool gpu = runs_on_gpu(options.device) && !options.graph_on_cpu;
  return gpu ? mx::Device::gpu : mx::Device::cpu;
}

}  // namespace

bool runs_on_gpu(DeviceChoice choice) {
  const bool has_gpu = mx::is_available(mx::Device::gpu);
  if (choice == DeviceChoice::gpu && !has_gpu) {
    fail<UnsupportedError>(
        "There is no GPU to run on",
        "The MLX library in use offers only the CPU",
        "Run with --device cpu, or install MLX with a GPU backend (the extra "
        "cuda12 or cuda13 on Linux).");
  }
  return choice != DeviceChoice::cpu && has_gpu;
}

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
