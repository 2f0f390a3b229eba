// What the kinds of checkpoints share: the parts that are plain values once
// the files have been read.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "roofline/weights/checkpoint.h"
#include "roofline/weights/rearrange.h"

namespace roofline {

class OpenedCheckpoint : public Checkpoint {
 public:
  explicit OpenedCheckpoint(std::filesystem::path path)
      : path_(std::move(path)) {}

  const std::filesystem::path& path() const override { return path_; }
  const ModelSpec& spec() const override { return spec_; }
  const std::vector<Tensor>& tensors() const override { return tensors_; }
  std::string fingerprint() const override { return fingerprint_; }

 protected:
  /// Adds an end-of-text token that isn't known yet.
  void add_eos(std::int64_t token);

  std::filesystem::path path_;
  ModelSpec spec_;
  std::vector<Tensor> tensors_;
  MadeBytes made_;  ///< of tensors that lie in no file as they are
  std::string fingerprint_;
};

std::unique_ptr<Checkpoint> open_gguf(const std::filesystem::path& file);
std::unique_ptr<Checkpoint> open_folder(const std::filesystem::path& folder);

/// A hash over canonical paths, sizes and times of last change: 64 hex digits.
std::string fingerprint_files(std::span<const std::filesystem::path> files);

}  // namespace roofline
