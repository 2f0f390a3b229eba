// Reads the safetensors container: an 8-byte header length, a JSON header, and
// the tensors' bytes one after another. Opening reads the header only; every
// claim in it is checked against the file's size before it is used.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "roofline/base/mapped_file.h"
#include "roofline/weights/tensor.h"

namespace roofline {

struct SafetensorsEntry {
  std::string name;
  std::string dtype;  ///< as the file says: "BF16", "U32", …
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;

  /// Elements in all.
  std::int64_t elements() const;
  /// f32, f16 or bf16; nullopt for every other dtype.
  std::optional<Encoding> encoding() const;
};

class SafetensorsFile {
 public:
  /// Maps the file and reads its header. Throws CheckpointError when anything
  /// in it can't be true, UserError when the file can't be opened.
  explicit SafetensorsFile(const std::filesystem::path& path);
  /// Reads a file that is already in memory; the bytes must outlive this.
  /// label: what errors call it.
  SafetensorsFile(std::span<const std::byte> bytes, std::string label);

  /// In the order of their bytes in the file.
  const std::vector<SafetensorsEntry>& entries() const { return entries_; }
  /// nullptr when there is none of that name.
  const SafetensorsEntry* find(std::string_view name) const;
  /// Gives back resident pages of these bytes of the mapping.
  void release(std::span<const std::byte> bytes) const;
  const std::string& label() const { return label_; }
  std::size_t file_bytes() const { return bytes_.size(); }

 private:
  void parse();

  MappedFile file_;
  std::string label_;
  std::span<const std::byte> bytes_;
  std::vector<SafetensorsEntry> entries_;
  std::vector<std::size_t> by_name_;  ///< indices of entries_, sorted by name
};

}  // namespace roofline
