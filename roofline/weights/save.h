// Writes a checkpoint's folder: weights in shards with their index, config.json
// and the files beside them. The folder appears whole or not at all, and its
// tensors are written one by one, so that a model needn't fit into memory.
//
//   CheckpointWriter writer("out", {.force = true});
//   writer.plan({{"model.norm.weight", "BF16", {64}}, …});
//   writer.put("model.norm.weight", bytes);   // any order, whole or in pieces
//   writer.write_text("config.json", text);
//   writer.publish();
//
// save_arrays.h writes MLX arrays by the same means.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "roofline/base/staged_folder.h"
#include "roofline/weights/safetensors_writer.h"

namespace roofline {

struct SaveOptions {
  /// A folder that is there already is replaced. Without it that is an error.
  bool force = false;
  /// Most bytes of tensors in one file; a larger tensor has a file of its own.
  std::uint64_t shard_bytes = std::uint64_t{5} << 30;
};

/// Throws UserError when `target` is there and may not be replaced: without
/// `force`, or when it isn't a checkpoint (a folder with a config.json) at all.
/// An empty folder counts as not being there.
void require_replaceable(const std::filesystem::path& target, bool force);

/// Throws UserError when writing `target` would replace the folder or file that
/// is read, `source`, or a folder that it lies in.
void require_apart(
    const std::filesystem::path& source,
    const std::filesystem::path& target);

class CheckpointWriter {
 public:
  /// Throws UserError when the target may not be replaced or its place can't
  /// be written. Nothing appears at the target before publish().
  explicit CheckpointWriter(
      const std::filesystem::path& target,
      SaveOptions options = {});
  ~CheckpointWriter();

  /// Lays out the shards in this order and reserves their disk; once, before
  /// put(). parameters: how many weights the tensors stand for, for the index;
  /// their elements where left out. Throws UserError when the disk is full.
  void plan(
      const std::vector<PlannedTensor>& tensors,
      std::optional<std::int64_t> parameters = std::nullopt);
  /// Writes bytes of one planned tensor; see SafetensorsWriter::put().
  void put(
      std::string_view name,
      std::span<const std::byte> bytes,
      std::size_t offset = 0);

  /// A file beside the weights; name: without a folder. Throws UserError.
  void write_text(const std::string& name, std::string_view text);
  void copy_file(const std::filesystem::path& source);

  /// Checks that every tensor is there, makes all durable and gives the folder
  /// its name. Throws UserError, and BugError when a tensor is missing.
  void publish();

  /// Bytes of all tensors.
  std::uint64_t tensor_bytes() const { return tensor_bytes_; }
  std::size_t shards() const { return shards_.size(); }

 private:
  struct Shard;

  std::string label_of(const std::string& name) const;

  SaveOptions options_;
  StagedFolder folder_;
  std::vector<std::unique_ptr<Shard>> shards_;
  std::map<std::string, std::size_t, std::less<>> shard_of_;
  std::uint64_t tensor_bytes_ = 0;
};

}  // namespace roofline
