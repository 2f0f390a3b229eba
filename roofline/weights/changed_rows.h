// Weights that change on their way from one file to another: by our names, and
// which rows of a file's tensors that means. Decoding, encoding and writing
// are others' business.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "roofline/spec/tensor_names.h"
#include "roofline/weights/tensor.h"

namespace roofline {

/// Changes a row of a weight under our name: values come as the checkpoint has
/// them, decoded, and leave as they are to be. Of several threads at once.
using RowChange =
    std::function<void(std::int64_t row, std::span<float> values)>;
using WeightChanges = std::map<std::string, RowChange, std::less<>>;

/// Throws UnsupportedError: a change has no place in the file.
[[noreturn]] void refuse_change(std::string_view name);

/// The changes, by the tensors of a file.
class FileChanges {
 public:
  /// Both must outlive it.
  FileChanges(
      const WeightChanges& changes,
      NameStyle style,
      const ModelSpec& spec);

  /// Takes note of a tensor that the file has. Throws CheckpointError for a
  /// name that no rule knows.
  void add(const std::string& tensor);
  /// Throws UnsupportedError when a change has found no tensor.
  void require_all() const;

  bool changes(std::string_view tensor) const;
  /// The file holds the weight [in, out]: rows to be changed are its columns.
  bool is_turned(std::string_view tensor) const;
  /// values: the row of the tensor, decoded; changed in place. A vector's
  /// elements count as its rows.
  void apply(const Tensor& tensor, std::int64_t row, std::span<float> values)
      const;

 private:
  struct Part {
    NamedRows rows;
    const RowChange* change = nullptr;
  };

  const WeightChanges& all_;
  NameStyle style_;
  const ModelSpec& spec_;
  std::map<std::string, std::vector<Part>, std::less<>> by_tensor_;
  std::set<std::string> found_;
};

}  // namespace roofline
