// Hugging Face's names for our tensors, and which of them lie in one matrix
// there: the way back from the tables that lead to our names. Of families whose
// folders hold matrices turned, MLX's names, under which they lie as ours do.
// Names of mixtures stand in mixture_names.h.
#pragma once

#include <array>
#include <cstddef>
#include <map>
#include <string>
#include <string_view>

#include "roofline/spec/model_spec.h"

namespace roofline {

/// Matrices that follow each other in one.
struct HfPacked {
  std::string_view family;
  std::array<std::string_view, 3> parts;  ///< ours; "": there are two
  std::string_view packed;
  /// A head's rows of all parts, then the next head's.
  bool by_head = false;
};

/// nullptr: the matrix stands alone.
const HfPacked* hf_packed(std::string_view family, std::string_view ours);

class HfNames {
 public:
  /// spec must outlive it. family: of the folder.
  HfNames(const ModelSpec& spec, std::string_view family);

  /// ours: without ".bias". Throws UnsupportedError for one that has no name
  /// there.
  std::string model_name(std::string_view ours, bool bias) const;
  /// The same of what stands behind "layers.N.".
  std::string layer_name(std::size_t layer, std::string_view ours, bool bias)
      const;
  /// What stands before the names of a layer.
  std::string layer_prefix(std::size_t layer) const;

 private:
  using Names = std::map<std::string_view, std::string_view>;

  std::string model_name_of(std::string_view ours, bool bias) const;
  std::string_view own_name(std::size_t layer, std::string_view ours) const;

  const ModelSpec& spec_;
  std::string_view model_prefix_ = "model.";
  std::string_view layers_ = "layers.";
  std::string_view recurrent_;
  bool by_key_head_ = false;
  Names own_layer_, layer_, own_model_, model_;
};

}  // namespace roofline
