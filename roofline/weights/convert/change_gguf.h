// Writes a GGUF file again with some of its weights changed. Metadata,
// vocabulary and all other tensors keep their bytes.
#pragma once

#include <filesystem>

#include "roofline/weights/changed_rows.h"
#include "roofline/weights/checkpoint.h"

namespace roofline {

struct ChangeGgufOptions {
  /// Changed matrices become bfloat16. Otherwise they keep their type, or take
  /// the smallest that can be written and has no fewer bits.
  bool decode = false;
  bool force = false;  ///< a file that is there is replaced
};

/// checkpoint: a GGUF file. The target appears whole or not at all. Throws
/// UnsupportedError for a change of something that the file doesn't hold row by
/// row, UserError when the target is there or can't be written.
void change_gguf(
    const Checkpoint& checkpoint,
    const WeightChanges& changes,
    const std::filesystem::path& target,
    const ChangeGgufOptions& options);

}  // namespace roofline
