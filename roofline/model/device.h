// Where a model runs.
#pragma once

#include <mlx/device.h>

#include "roofline/model/decoder.h"

namespace roofline {

/// Whether the choice means a GPU on this machine. Throws UnsupportedError when
/// one is asked for and there is none.
bool runs_on_gpu(DeviceChoice choice);

/// The device that the options ask for, made MLX's default one. Throws
/// UnsupportedError when a GPU is asked for and there is none.
mx::Device prepare_device(const ModelOptions& options);

}  // namespace roofline
