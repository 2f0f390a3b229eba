// A checkpoint as Hugging Face lays it out, whatever it is stored as: its
// config.json, its tensors as floats under Hugging Face's names, and the files
// beside them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "roofline/weights/changed_rows.h"
#include "roofline/weights/checkpoint.h"
#include "roofline/weights/convert/rows.h"

namespace roofline {

struct HfSource {
  nlohmann::json config;
  /// What is packed reads as floats.
  std::vector<RowTensor> tensors;
  /// Any of them is packed as MLX does.
  bool packed = false;
  /// Any of them is packed as another program does; those with a form of
  /// MLX's say so (RowTensor::packed).
  bool foreign = false;
  /// One of these that MLX's layout has no form for, and what it is: "" where
  /// there is none.
  std::string without_form = {};
  /// The head is the embedding.
  bool tied = false;
  /// Tokenizer, chat template, generation settings: to be copied.
  std::vector<std::filesystem::path> files;
  /// The same, made here: name and text.
  std::vector<std::pair<std::string, std::string>> texts;
  /// Keeps the tensors' memory.
  std::shared_ptr<const void> owner;
};

/// A folder with config.json and safetensors, in Hugging Face or MLX layout.
/// Throws what its readers throw, UnsupportedError for weights in a form that
/// isn't known.
HfSource hf_folder_source(const std::filesystem::path& folder);

/// A GGUF file: decoded, renamed and turned back, with a config.json and
/// tokenizer files made from its metadata. Throws what its readers throw,
/// UnsupportedError for a model or a vocabulary that can't be said that way.
/// changes: of its weights, by our names; null: none.
HfSource hf_gguf_source(
    const std::filesystem::path& file,
    std::shared_ptr<const WeightChanges> changes = nullptr);

/// A tensor of what hf_gguf_source() gives, without its values.
struct HfShape {
  std::string name;
  std::vector<std::int64_t> shape;
};

/// Throws what that throws for a model that can't be said that way.
std::vector<HfShape> hf_gguf_shapes(const Checkpoint& checkpoint);

/// Where a query's or key's row lies in a file whose heads have the dims that
/// rotate together side by side; row: with the dims in two halves.
std::int64_t paired_row(std::int64_t row, std::int64_t rows, int heads);

/// Tokenizer, chat template and generation settings in a folder, those that
/// are there.
std::vector<std::filesystem::path> files_beside_weights(
    const std::filesystem::path& folder);

}  // namespace roofline
