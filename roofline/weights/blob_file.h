// The cache of repacked weights: one file of named blobs that is written
// through a mapping, appears whole or not at all, and is mapped again at the
// next start. A file that doesn't fit its key or its own header is ignored.
//
// Layout, little endian: magic, file size, header size, count, key; for each
// blob offset, size and name; the SHA-256 of all that; then the blobs.
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

#include "roofline/base/atomic_file.h"
#include "roofline/base/mapped_file.h"

namespace roofline {

struct BlobSize {
  std::string name;
  std::uint64_t bytes = 0;
};

/// Blobs begin at multiples of this: a page, so that each can be advised or
/// released alone, and every vector register divides it.
constexpr std::size_t kBlobAlignment = 4096;

class BlobFileWriter {
 public:
  /// Lays the file out and reserves its disk. key: what the blobs were made
  /// from and how (fingerprint and settings); BlobFile::open asks for the same.
  /// When the disk has no room or the folder can't be written, the blobs live
  /// in memory alone and note() says why. Throws UserError when there isn't
  /// enough memory either, BugError for a name given twice.
  BlobFileWriter(
      const std::filesystem::path& path,
      std::string_view key,
      std::span<const BlobSize> blobs);
  /// The same, in memory only.
  explicit BlobFileWriter(std::span<const BlobSize> blobs);
  ~BlobFileWriter();
  BlobFileWriter(const BlobFileWriter&) = delete;
  BlobFileWriter& operator=(const BlobFileWriter&) = delete;

  /// The bytes of one blob, zero at first; valid as long as this object.
  /// Throws BugError for an unknown name.
  std::span<std::byte> blob(std::string_view name);

  /// Makes what was written durable and publishes it under its path; the spans
  /// stay valid and can only be read from then on. Old files in the folder
  /// beyond the newest few are removed. False when it isn't on disk afterwards,
  /// and note() says why.
  bool commit();

  /// Why the blobs are in memory only, or "".
  const std::string& note() const { return note_; }

 private:
  void lay_out(std::string_view key, std::span<const BlobSize> blobs);
  bool map_file();
  void map_memory();

  std::filesystem::path path_;
  AtomicFile file_;
  std::string header_;
  std::map<std::string, std::pair<std::uint64_t, std::uint64_t>, std::less<>>
      places_;  ///< name → offset, bytes
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  std::string note_;
};

class BlobFile {
 public:
  /// Maps the file if it is there, whole, and made for this key. late: blobs of
  /// which only what is read is to be in memory; all others are mapped at once.
  static std::optional<BlobFile> open(
      const std::filesystem::path& path,
      std::string_view key,
      std::span<const std::string_view> late = {});
  /// The same for a file that is already in memory.
  static std::optional<BlobFile> parse(
      std::span<const std::byte> bytes,
      std::string_view key);

  /// nullopt when there is no blob of that name.
  std::optional<std::span<const std::byte>> find(std::string_view name) const;
  std::size_t file_bytes() const { return bytes_.size(); }

 private:
  BlobFile() = default;
  bool read(std::string_view key);

  MappedFile file_;
  std::span<const std::byte> bytes_;
  std::map<std::string, std::span<const std::byte>, std::less<>> blobs_;
};

/// Where the repacked weights with this key are cached:
/// cache_dir()/packed/<hash of the key>.blobs
std::filesystem::path packed_cache_path(std::string_view key);

}  // namespace roofline
