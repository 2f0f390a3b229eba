// Which device MLX runs on.
#pragma once

#include <mlx/device.h>

namespace roofline {

/// Whether MLX's operations run on a GPU.
inline bool on_gpu() {
  return mlx::core::default_device() == mlx::core::Device::gpu;
}

}  // namespace roofline
