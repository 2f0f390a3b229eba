// What every writer of MLX's layout shares: how the source is opened, and the
// files that stand beside the weights.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "roofline/weights/convert/hf_source.h"
#include "roofline/weights/convert/mlx_config.h"
#include "roofline/weights/save.h"

namespace roofline {

/// A folder with weights of its own, else the GGUF file that is meant.
std::filesystem::path model_file(const std::filesystem::path& given);

/// A folder or a GGUF file (model_file). Throws what their readers throw.
HfSource open_hf_source(const std::filesystem::path& path);

/// Values that mlx-lm keeps in the dtype they have.
bool keeps_own_dtype(std::string_view name);

/// Tokenizer, chat template, generation settings, and README.md.
void write_files_beside(
    CheckpointWriter& writer,
    const HfSource& source,
    const std::string& card);

}  // namespace roofline
