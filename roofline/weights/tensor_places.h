// Where the tensors of a file that is being written lie, and how much of each
// has come: what the writers of all formats check alike. Writes nothing.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <utility>

namespace roofline {

class TensorPlaces {
 public:
  /// What errors call the writer and the file.
  TensorPlaces(std::string writer, std::string label)
      : writer_(std::move(writer)), label_(std::move(label)) {}

  /// Throws BugError when a name comes twice.
  void add(const std::string& name, std::size_t begin, std::size_t bytes);

  /// Where in the file `bytes` bytes of a tensor belong, from its byte `offset`
  /// on; written() must follow. Throws BugError when the tensor isn't planned
  /// or has no such bytes left.
  std::size_t begin_of(
      std::string_view name,
      std::size_t bytes,
      std::size_t offset) const;
  void written(std::string_view name, std::size_t bytes);

  /// Throws BugError when bytes of a tensor are missing.
  void require_complete() const;

 private:
  struct Place {
    std::size_t begin = 0;
    std::size_t bytes = 0;
    std::size_t written = 0;
  };

  const Place& at(std::string_view name) const;
  [[noreturn]] void fail_call(const std::string& what, const std::string& why)
      const;

  std::string writer_;
  std::string label_;
  std::map<std::string, Place, std::less<>> places_;
};

}  // namespace roofline
