// Writes a checkpoint in MLX layout, as mlx-lm would: weights under its names,
// quantized or not, config.json, the tokenizer's files and a model card. Works
// through the tensors a few megabytes at a time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <mlx/dtype.h>

#include "roofline/weights/changed_rows.h"
#include "roofline/weights/convert/mlx_quantize.h"
#include "roofline/weights/save.h"

namespace roofline {

struct ToMlxOptions {
  /// Packs the matrices in this form; absent: they stay floats.
  std::optional<MlxForm> quantize;
  /// One of mlx_recipes(), or empty.
  std::string recipe;
  /// Of all that isn't packed, and of what is before it is; absent: what
  /// config.json says ("torch_dtype"), else the tensors' own.
  std::optional<mlx::core::Dtype> dtype;
  /// Unpacks what is packed.
  bool dequantize = false;
  SaveOptions save;
  /// Called as the work goes on, with the share done and a tensor's name. What
  /// it throws ends the conversion, and nothing has appeared.
  std::function<void(double share, std::string_view name)> progress;
  /// The name of the source on a hub, for the model card; may be empty.
  std::string base_model;
  /// Of a GGUF file's weights, by our names; null: none.
  std::shared_ptr<const WeightChanges> changes;
};

struct ConvertedModel {
  std::uint64_t bytes = 0;      ///< of all tensors
  std::int64_t parameters = 0;  ///< what they stand for
  std::size_t shards = 0;
  std::string warning;  ///< a sentence for people; may be empty
  double bits_per_weight() const {
    return parameters == 0 ? 0
                           : 8.0 * static_cast<double>(bytes) /
                                 static_cast<double>(parameters);
  }
};

/// source: a folder in Hugging Face or MLX layout, or a GGUF file. Throws what
/// the readers throw, UnsupportedError for a family whose layout in MLX isn't
/// known, and UserError when the target is there or can't be written.
ConvertedModel convert_to_mlx(
    const std::filesystem::path& source,
    const std::filesystem::path& target,
    const ToMlxOptions& options);

/// "bfloat16", "bf16", "float16", "f16", "float32" or "f32". Throws UserError
/// naming the option.
mlx::core::Dtype parse_float_dtype(
    std::string_view text,
    std::string_view option);

}  // namespace roofline
