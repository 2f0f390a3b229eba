// Mixtures of experts in a GGUF file as Hugging Face's folders have them: each
// expert's matrices apart, or gate and up of all in one stack.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "roofline/spec/mixture_names.h"
#include "roofline/spec/model_spec.h"
#include "roofline/weights/changed_rows.h"
#include "roofline/weights/convert/rows.h"
#include "roofline/weights/tensor.h"

namespace roofline {

/// Rows [first, first + count) of a tensor, decoded and changed: [count, cols].
using ReadFileRows = std::function<mlx::core::array(
    const Tensor& tensor,
    const RowChange& change,
    std::int64_t first,
    std::int64_t count)>;

class HfMixtureMaker {
 public:
  /// spec: of the file, must outlive this. family: that of the folder. read
  /// keeps the file's tensors.
  HfMixtureMaker(
      const ModelSpec& spec,
      std::string_view family,
      ReadFileRows read);

  /// Adds what becomes of one tensor to `out`; false where it is no mixture's.
  /// rest: its name behind "layers.N.". Tensors of a layer come in the order
  /// of expected_tensors(). Throws UnsupportedError for one that such folders
  /// have no name for.
  bool add(
      const Tensor& tensor,
      const RowChange& change,
      std::size_t layer,
      std::string_view rest,
      std::vector<RowTensor>& out) const;

 private:
  RowTensor rows(
      const Tensor& tensor,
      const RowChange& change,
      std::string name) const;
  RowPiece piece(
      const Tensor& tensor,
      const RowChange& change,
      std::int64_t begin,
      std::int64_t count) const;
  void add_experts(
      const Tensor& tensor,
      const RowChange& change,
      const std::string& at,
      std::string_view rest,
      std::vector<RowTensor>& out) const;
  void add_stack(
      const Tensor& tensor,
      const RowChange& change,
      const std::string& at,
      std::size_t part,
      std::vector<RowTensor>& out) const;

  const ModelSpec& spec_;
  std::string_view family_;
  const HfMixtureNames* names_ = nullptr;
  ReadFileRows read_;
  int experts_ = 0;
};

}  // namespace roofline
