// The values of one tensor of a GGUF file, made row by row of tensors of ours:
// joined, turned, taken apart, changed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "roofline/weights/changed_rows.h"
#include "roofline/weights/checkpoint.h"
#include "roofline/weights/convert/gguf_model.h"
#include "roofline/weights/tensor.h"

namespace roofline {

/// Our tensors that make one of the file's, row after row.
class GgufRows {
 public:
  /// All must outlive this. changes: by our names; null: none.
  GgufRows(
      const Checkpoint& checkpoint,
      const GgufSource& source,
      const WeightChanges* changes);

  bool is_vector() const { return vector_; }
  bool is_bias() const { return source_.name.ends_with(".bias"); }
  std::int64_t rows() const { return rows_; }
  std::int64_t cols() const { return cols_; }
  /// Cols first.
  std::vector<std::int64_t> shape() const;

  /// Four-bit floats of experts whose codes the file can hold as they are.
  bool has_blocks() const;
  /// A row of these as GGML's mxfp4: a scale and 16 bytes for 32 values, the
  /// first 16 in the low bits. MLX has values in pairs.
  void read_blocks(std::int64_t row, std::span<std::byte> out) const;
  /// out: [cols] float32. From several threads at once.
  void read(std::int64_t row, std::span<float> out) const;
  /// Gives the source's pages back.
  void release(const Checkpoint& checkpoint) const;

 private:
  void add_parts(const Checkpoint& checkpoint, const std::string& name);
  void turn_keys() const;
  std::int64_t source_row(std::int64_t row) const;
  std::pair<const Tensor*, std::int64_t> find(std::int64_t row) const;
  void read_turned_keys(std::int64_t row, std::span<float> out) const;
  void read_vector(std::span<float> out) const;
  void read_row(std::int64_t row, std::span<float> out) const;
  void change(std::int64_t row, std::span<float> out) const;
  void decode(const Tensor& part, std::int64_t row, std::span<float> out) const;

  const GgufSource& source_;
  const WeightChanges* changes_;
  std::vector<const Tensor*> parts_;
  std::int64_t rows_ = 0;
  std::int64_t cols_ = 0;
  bool vector_ = false;
  std::int64_t rank_ = 0;      ///< for latent_keys
  std::int64_t per_head_ = 0;  ///< rows of a head's keys and values
  std::unique_ptr<std::once_flag> turned_once_ =
      std::make_unique<std::once_flag>();
  mutable std::vector<float> turned_;
};

}  // namespace roofline
