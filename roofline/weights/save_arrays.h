// MLX arrays to safetensors: one file at once (an adapter, a few tensors), or a
// planned tensor of a CheckpointWriter.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <mlx/array.h>

#include "roofline/weights/save.h"

namespace roofline {

/// Name, dtype and shape of an array; it isn't evaluated. Throws BugError for
/// a dtype that safetensors lacks.
PlannedTensor planned_array(std::string name, const mlx::core::array& array);

/// safetensors' name of a dtype: "BF16", "U32", …
std::string dtype_name(mlx::core::Dtype dtype);

/// Evaluates the array and writes it, whole.
void put_array(
    CheckpointWriter& writer,
    std::string_view name,
    const mlx::core::array& array);

/// Writes one file that appears whole or not at all, replacing an older one.
/// The arrays are evaluated and written one by one, in this order. Throws
/// UserError when the file can't be written or the disk is full.
void save_arrays(
    const std::filesystem::path& path,
    const std::vector<std::pair<std::string, mlx::core::array>>& arrays,
    const SafetensorsMetadata& metadata = {{"format", "mlx"}});

/// The same of tensors that `put_all` writes from wherever they are.
void save_tensors(
    const std::filesystem::path& path,
    const std::vector<PlannedTensor>& tensors,
    const std::function<void(SafetensorsWriter&)>& put_all,
    const SafetensorsMetadata& metadata = {{"format", "mlx"}});

}  // namespace roofline
