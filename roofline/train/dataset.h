// What a run learns from: the samples of a JSONL file in their final length,
// kept in memory or, of a large file, read again when their turn comes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <vector>

#include "roofline/train/sample_encoder.h"

namespace roofline {

class ExampleFile;

struct Dataset {
  std::vector<Example> examples;  ///< none where they stay in the file
  std::shared_ptr<const ExampleFile> file = {};
  std::uint64_t fingerprint = 0;    ///< of a file's examples
  std::int64_t tokens = 0;          ///< that go through the model
  std::int64_t learned_tokens = 0;  ///< that are predicted
  int truncated = 0;                ///< samples whose end was cut off
  std::int64_t cut_tokens = 0;
  int left_out = 0;         ///< lines with nothing to learn after that
  int with_tools = 0;       ///< lines that have any
  int with_tool_calls = 0;  ///< lines whose messages have any

  std::size_t size() const;
  Example at(std::size_t index) const;
  /// Example::inputs() of all.
  std::vector<int> inputs() const;
};

/// Tells one example from another (FNV-1a over its ids), going on from `hash`.
std::uint64_t mix_example(std::uint64_t hash, const Example& example);
constexpr std::uint64_t kNoExamples = 0xcbf29ce484222325u;

/// Reads a JSONL file, line by line; of a large one it keeps the places, and
/// the encoder must outlive the data set. Throws UserError that names file,
/// line and reason for a malformed one, or when nothing is left to learn from.
Dataset read_dataset(
    const std::filesystem::path& file,
    const SampleEncoder& encoder,
    const DatasetOptions& options);

/// The files of a data path: a folder's train.jsonl, valid.jsonl, test.jsonl,
/// or one file to train on. Absent ones are empty. Throws UserError.
struct DataFiles {
  std::filesystem::path train, valid, test;
};
DataFiles find_data(const std::filesystem::path& path);

}  // namespace roofline
