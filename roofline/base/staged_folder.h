// A folder that appears whole or not at all: it is filled under a temporary
// name beside its target and takes the target's name in one step. What a killed
// process left behind is swept away by the next one with the same target.
#pragma once

#include <filesystem>

namespace roofline {

class StagedFolder {
 public:
  /// Makes the temporary folder. The target's parents are created when missing.
  /// Throws UserError when the place can't be written.
  explicit StagedFolder(const std::filesystem::path& target);
  /// Removes what wasn't published.
  ~StagedFolder();
  StagedFolder(const StagedFolder&) = delete;
  StagedFolder& operator=(const StagedFolder&) = delete;

  /// Where to put the files until publish().
  const std::filesystem::path& path() const { return path_; }
  const std::filesystem::path& target() const { return target_; }

  /// Makes the folder durable and gives it the target's name. A folder that is
  /// there already gives way in the same step and is removed. Throws UserError;
  /// the target is then as it was.
  void publish();

 private:
  std::filesystem::path target_;
  std::filesystem::path path_;
  int lock_ = -1;
};

}  // namespace roofline
