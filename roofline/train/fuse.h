// Writes a model whose weights have changed: an adapter fused in, or all of
// them trained.
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "roofline/model/adapter.h"
#include "roofline/weights/changed_rows.h"
#include "roofline/weights/checkpoint.h"

namespace roofline {

/// What becomes of quantized matrices that change.
enum class FuseQuantized {
  requantize,  ///< in the form they had
  decode,      ///< to half floats (bfloat16)
};

/// w + Σ weight · scale · b · a for each matrix of the adapters; of DoRA, w
/// plus weight times what it changes. Experts' are named as in `checkpoint`.
WeightChanges adapter_changes(
    const Checkpoint& checkpoint,
    std::span<const Adapter> adapters,
    std::span<const float> weights);

/// Puts the tensors in which `trained` differs from `checkpoint`, of which it
/// is an overlay, in the place of those that the changes begin with. Both must
/// outlive the changes.
void begin_with(
    const Checkpoint& trained,
    const Checkpoint& checkpoint,
    WeightChanges& changes);

/// Writes the model in `checkpoint` to the folder `target`, with the changes: a
/// folder of safetensors as it is laid out, config, tokenizer and the like
/// copied; a GGUF file in MLX layout, as floats of 16 bits, or of 32 where it
/// has those. The folder appears whole or not at all. force: replaces a
/// checkpoint that is there. Throws UnsupportedError for what isn't held row by
/// row and for a GGUF file that is to stay quantized, UserError when it can't
/// be written.
void write_changed_model(
    const Checkpoint& checkpoint,
    const WeightChanges& changes,
    const std::filesystem::path& target,
    FuseQuantized quantized,
    bool force);

/// Throws what write_changed_model() would throw for changes of weights of
/// these names, before there are any.
void require_place(
    const Checkpoint& checkpoint,
    const std::vector<std::string>& names);

struct FusedGguf {
  /// Of a folder's matrices, as in ToGgufOptions; absent: f16. A GGUF file's
  /// tensors keep their types.
  std::optional<Encoding> encoding = {};
  /// Of a GGUF file's changed matrices.
  FuseQuantized quantized = FuseQuantized::requantize;
  bool force = false;
};

/// The same as one GGUF file. Gives what its readers compute otherwise, a
/// sentence for people that may be empty. Throws what convert_to_gguf() and
/// change_gguf() throw, UserError for an encoding where the model is a GGUF
/// file.
std::string write_changed_gguf(
    const Checkpoint& checkpoint,
    const WeightChanges& changes,
    const std::filesystem::path& target,
    const FusedGguf& form);

}  // namespace roofline
