// Writes a GGUF version 3 file: metadata, the list of tensors, then their
// bytes, which may come in any order and in pieces. Layout: gguf.md of the ggml
// project.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <nlohmann/json.hpp>

#include "roofline/weights/gguf.h"
#include "roofline/weights/tensor.h"
#include "roofline/weights/tensor_places.h"

namespace roofline {

using GgufValue = std::variant<
    std::uint32_t,
    std::int32_t,
    float,
    bool,
    std::string,
    std::vector<std::int32_t>,
    std::vector<float>,
    std::vector<bool>,
    std::vector<std::string>>;

/// Keys and values in the order of the file.
using GgufMetadata = std::vector<std::pair<std::string, GgufValue>>;

/// The same as a flat JSON object, without the long arrays of a vocabulary.
nlohmann::json metadata_json(const GgufMetadata& metadata);

struct PlannedGgufTensor {
  std::string name;
  Encoding encoding = Encoding::f32;
  std::vector<std::int64_t> shape;  ///< cols first

  std::size_t bytes() const;
};

class GgufWriter {
 public:
  /// fd: an empty file that is open for writing, borrowed. Reserves the disk
  /// and writes the header. Throws UserError when the disk is full.
  GgufWriter(
      int fd,
      std::string label,
      const GgufMetadata& metadata,
      const std::vector<PlannedGgufTensor>& tensors);

  /// With another file's metadata, byte for byte.
  GgufWriter(
      int fd,
      std::string label,
      const GgufFile::RawMetadata& metadata,
      const std::vector<PlannedGgufTensor>& tensors);

  /// As SafetensorsWriter::put().
  void put(
      std::string_view name,
      std::span<const std::byte> bytes,
      std::size_t offset = 0);
  /// Makes the file durable. Throws BugError when bytes are missing.
  void finish();

  std::size_t file_bytes() const { return file_bytes_; }

 private:
  void begin(
      const std::string& header,
      const std::vector<PlannedGgufTensor>& tensors,
      std::size_t alignment);

  int fd_ = -1;
  std::string label_;
  TensorPlaces places_;
  std::size_t file_bytes_ = 0;
};

}  // namespace roofline
