// Mixtures of experts in a GGUF file as Hugging Face's folders have them: each
// expert's matrices apart, or gate and up of all in one stack; of families
// whose folders hold experts turned, as MLX stacks them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "roofline/spec/mixture_names.h"
#include "roofline/spec/model_spec.h"
#include "roofline/weights/convert/file_rows.h"

namespace roofline {

class HfMixtureMaker {
 public:
  /// spec: of the file, must outlive this. family: that of the folder.
  HfMixtureMaker(const ModelSpec& spec, std::string_view family);

  /// Adds what becomes of one tensor to `out`; false where it is no mixture's.
  /// prefix: of the layer's names. rest: its name behind "layers.N.", without
  /// ".bias". Tensors of a layer come in the order of expected_tensors().
  /// Throws UnsupportedError for one that such folders have no name for.
  bool add(
      const FileRows& rows,
      const std::string& prefix,
      std::size_t layer,
      std::string_view rest,
      bool bias,
      std::vector<RowTensor>& out) const;

 private:
  void add_experts(
      const FileRows& rows,
      const std::string& at,
      std::string_view rest,
      bool bias,
      std::vector<RowTensor>& out) const;
  void add_packed_stack(
      const FileRows& rows,
      const std::string& at,
      std::size_t part,
      int first,
      int count,
      std::vector<RowTensor>& out) const;

  const ModelSpec& spec_;
  std::string_view family_;
  const HfMixtureNames* names_ = nullptr;
  int experts_ = 0;
};

}  // namespace roofline
