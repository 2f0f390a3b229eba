// Writes one safetensors file whose tensors are known beforehand by name, dtype
// and shape. Their bytes may come in any order and in pieces, so that no more
// than a piece need be in memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "roofline/weights/tensor_places.h"

namespace roofline {

/// A tensor that will be written.
struct PlannedTensor {
  std::string name;
  std::string dtype;  ///< as safetensors names it: "BF16", "U32", …
  std::vector<std::int64_t> shape;

  /// Throws BugError for a dtype that can't be written.
  std::size_t bytes() const;
};

using SafetensorsMetadata = std::map<std::string, std::string>;

class SafetensorsWriter {
 public:
  /// fd: an empty file that is open for writing, borrowed. label: what errors
  /// call it. Reserves the disk and writes the header. Throws UserError when
  /// the disk is full, BugError when a name comes twice.
  SafetensorsWriter(
      int fd,
      std::string label,
      const std::vector<PlannedTensor>& tensors,
      const SafetensorsMetadata& metadata = {{"format", "mlx"}});

  /// Writes bytes [offset, offset + bytes.size()) of one tensor, each byte
  /// once. Throws UserError when the file can't be written, BugError when the
  /// tensor isn't planned or has no such bytes.
  void put(
      std::string_view name,
      std::span<const std::byte> bytes,
      std::size_t offset = 0);

  /// Makes the file durable. Throws BugError when bytes are missing.
  void finish();

  std::size_t file_bytes() const { return file_bytes_; }

 private:
  int fd_ = -1;
  std::string label_;
  TensorPlaces places_;
  std::size_t file_bytes_ = 0;
};

/// Writes all bytes at a place of a file. Throws UserError, naming `label`,
/// when the disk is full or can't be written.
void write_at(
    int fd,
    std::size_t at,
    std::span<const std::byte> bytes,
    const std::string& label);

/// Reserves the disk for a file of so many bytes. Throws UserError when there
/// is no room.
void reserve_or_fail(int fd, std::size_t bytes, const std::string& label);

/// fsync. Throws UserError when it fails.
void sync_or_fail(int fd, const std::string& label);

}  // namespace roofline
