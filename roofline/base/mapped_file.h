// A file mapped read-only into memory. Pages come in when touched and can be
// given back once their content has been repacked elsewhere.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace roofline {

class MappedFile {
 public:
  MappedFile() = default;
  /// Maps the whole file. Throws UserError when it can't be opened, is no
  /// regular file, or is empty.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::filesystem::path& path() const { return path_; }

  /// Drops the resident pages that lie wholly inside [offset, offset + size);
  /// they are read again from the file if touched. Sizes in bytes.
  void release(std::size_t offset, std::size_t size) const;

 private:
  std::filesystem::path path_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace roofline
