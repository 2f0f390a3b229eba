// Where a model runs.
#pragma once

#include <mlx/device.h>

#include "roofline/model/decoder.h"

namespace roofline {

/// The device that the options ask for, made MLX's default one. Throws
/// UnsupportedError when a GPU is asked for and there is none.
mx::Device prepare_device(const ModelOptions& options);

}  // namespace roofline
