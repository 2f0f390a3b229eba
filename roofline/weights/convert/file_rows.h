// Rows of a GGUF file's tensors on their way to Hugging Face's layout: decoded,
// changed, put in that layout's order and brought back to its values.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <mlx/array.h>

#include "roofline/weights/changed_rows.h"
#include "roofline/weights/checkpoint.h"
#include "roofline/weights/convert/rows.h"
#include "roofline/weights/tensor.h"

namespace roofline {

/// What brings a tensor of the file back to Hugging Face's values.
struct Undo {
  std::vector<std::int64_t> rows;  ///< of the file, for each; empty: the same
  std::vector<std::int64_t> cols;
  bool minus_one = false;     ///< the file holds 1 + w
  bool log_negative = false;  ///< it holds −exp(w)
  RowChange change = {};      ///< of the file's rows, before all that

  bool rearranges() const { return !rows.empty() || !cols.empty(); }
};

class FileRows {
 public:
  /// keep: of whoever the tensor's bytes belong to.
  FileRows(
      const Tensor& tensor,
      Undo undo,
      std::shared_ptr<const Checkpoint> keep);

  /// Rows [first, first + count): [count, cols] in float32. A vector is one
  /// row.
  mlx::core::array read(std::int64_t first, std::int64_t count) const;
  RowPiece piece(std::int64_t first, std::int64_t count) const;
  /// All of it, without a name.
  RowTensor tensor() const;
  std::int64_t rows() const { return tensor_->rows; }
  std::int64_t cols() const { return tensor_->cols; }
  std::function<void()> release() const;

 private:
  void read_row(std::int64_t row, std::span<float> out) const;
  void read_vector(std::span<float> out) const;

  const Tensor* tensor_;
  std::shared_ptr<const Undo> undo_;
  std::shared_ptr<const Checkpoint> keep_;
};

/// Vectors one after another, the values taken in this order where there is
/// one.
RowTensor joined_vectors(
    std::string name,
    const std::vector<FileRows>& parts,
    std::vector<std::int64_t> order);

/// inverse[order[i]] = i
std::vector<std::int64_t> inverse_of(const std::vector<std::int64_t>& order);

}  // namespace roofline
