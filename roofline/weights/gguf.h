// Reads GGUF version 2 and 3: metadata, vocabulary arrays and tensors of a
// mapped file. Opening walks the header once; every count, length and offset is
// checked against the file's size before anything is allocated for it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "roofline/base/mapped_file.h"
#include "roofline/weights/tensor.h"

namespace roofline {

struct GgufTensor {
  std::string name;
  Encoding encoding = Encoding::f32;
  /// As the file lists them: cols first, at most four.
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;

  std::int64_t cols() const { return shape.empty() ? 1 : shape[0]; }
  /// The product of all axes but the first.
  std::int64_t rows() const;
};

/// As the checkpoints have tensors; its bytes stay the file's.
Tensor as_tensor(const GgufTensor& source);

class GgufFile {
 public:
  /// Maps the file and reads its header. Throws CheckpointError when anything
  /// in it can't be true, UnsupportedError for another version, byte order or
  /// tensor type, UserError when the file can't be opened. The first of several
  /// parts ("…-00001-of-00003.gguf") stands for all: the others' tensors are
  /// added, and what the metadata says of parts is left out.
  explicit GgufFile(const std::filesystem::path& path);
  /// Reads a file that is already in memory; the bytes must outlive this.
  /// label: what errors call it.
  GgufFile(std::span<const std::byte> bytes, std::string label);

  int version() const { return version_; }
  /// A flat object: every scalar, and short arrays that aren't part of the
  /// vocabulary. The rest is behind strings(), floats() and integers().
  const nlohmann::json& metadata() const { return metadata_; }
  /// Whether there is an array of that name, copied or not.
  bool has_array(std::string_view key) const;
  /// An array of strings, as views of the file. Empty when there is none.
  /// Throws CheckpointError when it holds something else.
  std::vector<std::string_view> strings(std::string_view key) const;
  /// An array of floats; same rules.
  std::vector<float> floats(std::string_view key) const;
  /// An array of integers of any width that fit into 32 bits; same rules.
  std::vector<std::int32_t> integers(std::string_view key) const;

  /// In the order of the file, and of its parts.
  const std::vector<GgufTensor>& tensors() const { return tensors_; }
  /// All pairs of the metadata as they lie in the file.
  struct RawMetadata {
    std::uint64_t count = 0;
    std::span<const std::byte> bytes;
    std::size_t alignment = 32;  ///< of the tensors' bytes
  };
  const RawMetadata& raw_metadata() const { return raw_metadata_; }
  /// nullptr when there is none of that name.
  const GgufTensor* find(std::string_view name) const;
  /// Gives back resident pages of these bytes of the mapping.
  void release(std::span<const std::byte> bytes) const;
  const std::string& label() const { return label_; }
  /// Of all parts.
  std::size_t file_bytes() const;
  /// The file, or all of its parts.
  const std::vector<std::filesystem::path>& files() const { return files_; }

  /// An array as it lies in the file.
  struct Array {
    std::uint32_t type = 0;  ///< of its elements, GGUF's number
    std::uint64_t count = 0;
    std::span<const std::byte> bytes;
  };

 private:
  class Parser;
  struct OnePart {};
  GgufFile(const std::filesystem::path& path, OnePart);
  void join_parts(const std::filesystem::path& path);
  const Array* array(std::string_view key) const;

  MappedFile file_;
  std::string label_;
  std::span<const std::byte> bytes_;
  int version_ = 0;
  RawMetadata raw_metadata_;
  nlohmann::json metadata_ = nlohmann::json::object();
  std::map<std::string, Array, std::less<>> arrays_;
  std::vector<GgufTensor> tensors_;
  std::map<std::string, std::size_t, std::less<>> by_name_;
  std::vector<std::filesystem::path> files_;
  std::vector<std::unique_ptr<const GgufFile>> parts_;  ///< after this one
};

}  // namespace roofline
