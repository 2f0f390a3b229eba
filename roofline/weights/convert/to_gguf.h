// Writes a checkpoint as one GGUF file that llama.cpp runs: metadata, the
// vocabulary with the chat template, and the tensors in a type of GGML's.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "roofline/weights/changed_rows.h"
#include "roofline/weights/convert/to_mlx.h"
#include "roofline/weights/tensor.h"

namespace roofline {

struct ToGgufOptions {
  /// Of the matrices: f32, f16, bf16, q8_0, q4_0, q4_1 or q4_k. Vectors are
  /// f32. With q4_k the matrix that gives the logits is q8_0. A matrix whose
  /// rows don't divide into blocks takes the next type that fits: q5_0 for
  /// q4_k, else f16.
  Encoding encoding = Encoding::f16;
  bool force = false;  ///< a file that is there is replaced
  std::function<void(double share, std::string_view name)> progress;
  std::string name;  ///< for "general.name"; may be empty
  /// By our names; null: none.
  const WeightChanges* changes = nullptr;
};

/// "q4_k" → Encoding::q4_k. Throws UserError naming the option.
Encoding parse_gguf_type(std::string_view text, std::string_view option);

/// source: a folder in Hugging Face or MLX layout. The file appears whole or
/// not at all. Throws what the readers throw, UnsupportedError for what GGUF
/// can't say, UserError when the file is there or can't be written.
ConvertedModel convert_to_gguf(
    const std::filesystem::path& source,
    const std::filesystem::path& target,
    const ToGgufOptions& options);

}  // namespace roofline
