// Finds and opens the safetensors files of a folder, one or many.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "roofline/weights/safetensors.h"

namespace roofline {

/// The open shards of one checkpoint and, for each name, the entry that holds.
class Shards {
 public:
  /// Opens model.safetensors, else what model.safetensors.index.json lists,
  /// else all model*.safetensors (or weights*.safetensors). Throws
  /// CheckpointError for a missing shard, a tensor that isn't where the index
  /// says, a name in two shards, and a folder without any of them.
  explicit Shards(const std::filesystem::path& folder);

  const std::vector<SafetensorsFile>& files() const { return files_; }
  const std::vector<std::filesystem::path>& paths() const { return paths_; }
  /// All entries, sorted by name.
  const std::vector<const SafetensorsEntry*>& entries() const {
    return entries_;
  }
  /// nullptr when there is none of that name.
  const SafetensorsEntry* find(std::string_view name) const;

 private:
  void open_index(const std::filesystem::path& index);
  void open_all(std::vector<std::filesystem::path> paths);
  void sort_entries();

  std::filesystem::path folder_;
  std::vector<std::filesystem::path> paths_;
  std::vector<SafetensorsFile> files_;
  std::vector<const SafetensorsEntry*> entries_;
};

}  // namespace roofline
