// Files that appear whole or not at all. A file has no name while it is
// written, so that nothing is left behind even when the process is killed; at
// the end it gets one in one step.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

namespace roofline {

class AtomicFile {
 public:
  /// How a nameless file gets its name at the end.
  enum class Naming {
    by_link,  ///< the file itself; by_copy where the file system can't do that
    by_copy,  ///< a copy under a temporary name, which is then renamed
  };

  AtomicFile() = default;
  /// Opens a new file, readable and writable, in the folder of `path`. The
  /// folder is created when missing. On failure is_open() is false and error()
  /// says why.
  explicit AtomicFile(
      const std::filesystem::path& path,
      Naming naming = Naming::by_link);
  ~AtomicFile();
  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&& other) noexcept;
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  bool is_open() const { return fd_ >= 0; }
  int fd() const { return fd_; }
  const std::string& error() const { return error_; }

  /// Makes the file durable and gives it its name, replacing an older one.
  /// False on failure, and error() says why. Once only.
  bool publish();

 private:
  void close();
  bool give_name();

  std::filesystem::path path_;
  Naming naming_ = Naming::by_link;
  int fd_ = -1;
  std::string error_;
};

/// Writes the whole file, or leaves what was there. Throws UserError when the
/// folder can't be written or the disk is full.
void write_file_atomically(
    const std::filesystem::path& path,
    std::span<const std::byte> bytes);

/// Reserves `bytes` of disk for the file, so that writing to a mapping of it
/// can't fail. Returns 0 or the errno.
int reserve_disk(int fd, std::size_t bytes);

}  // namespace roofline
