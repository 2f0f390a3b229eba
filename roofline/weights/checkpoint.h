// A model's files, opened: its spec, its tensors under our own names, the
// vocabulary or tokenizer files, the chat template. Files are mapped; opening
// one reads headers only. Layouts: a GGUF file; a folder with config.json and
// one or many safetensors (Hugging Face's or MLX's).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "roofline/spec/model_spec.h"
#include "roofline/text/tokenizer.h"
#include "roofline/weights/tensor.h"

namespace roofline {

class Checkpoint {
 public:
  virtual ~Checkpoint() = default;

  /// Opens a file or folder. Throws CheckpointError (broken), UnsupportedError
  /// (unknown family, type or field) or UserError (no such path).
  static std::unique_ptr<Checkpoint> open(const std::filesystem::path& path);

  virtual const std::filesystem::path& path() const = 0;
  virtual const ModelSpec& spec() const = 0;

  /// All tensors under Roofline's names (spec/tensor_names.h), sorted.
  virtual const std::vector<Tensor>& tensors() const = 0;
  /// nullptr when there is none of that name.
  const Tensor* find(std::string_view name) const;
  /// Throws CheckpointError naming the nearest tensor when there is none.
  const Tensor& at(std::string_view name) const;

  /// Gives back the resident pages of one tensor after it was repacked.
  virtual void release(const Tensor& tensor) const = 0;

  /// "GGUF v3", "safetensors, 2 shards (MLX)": for people to read.
  virtual std::string format() const = 0;
  /// Size of all weight files together.
  virtual std::size_t file_bytes() const = 0;
  /// Identifies these very files (paths, sizes, times): a cache key, hex.
  virtual std::string fingerprint() const = 0;

  /// Loads the tokenizer. Throws CheckpointError when there is none or it is
  /// broken, UnsupportedError for an unknown pre-tokenizer.
  virtual std::unique_ptr<Tokenizer> load_tokenizer() const = 0;
  /// The chat template's source, if the checkpoint carries one.
  virtual std::optional<std::string> chat_template() const = 0;
};

/// The tokenizer and the chat template alone, for what opens nothing else:
/// works for folders and GGUF files without weights and of families that aren't
/// known. Errors as for the members above.
std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& model);
std::optional<std::string> load_chat_template(
    const std::filesystem::path& model);

/// Resolves what a user may write for MODEL to a path: a file, a folder, a
/// short name in the registry folder, or a name in the Hugging Face cache.
/// Empty: the bundled model. Throws UserError with the nearest names.
std::filesystem::path resolve_model(std::string_view name);

/// Throws UserError for a folder whose files may not be looked up.
void check_readable(const std::filesystem::path& path);

}  // namespace roofline
