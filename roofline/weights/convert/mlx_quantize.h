// MLX's quantization of a checkpoint: which matrices are packed, in which form,
// and how config.json says so. The packing itself is mx::quantize's, so that
// the bits are those that mlx-lm writes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "roofline/weights/convert/rows.h"
#include "roofline/weights/save.h"

namespace roofline {

/// The form that the options ask for; what is left out has mlx-lm's default
/// for the mode. Throws UserError for what MLX doesn't have.
MlxForm parse_mlx_form(
    std::string_view mode,
    std::optional<int> bits,
    std::optional<int> group_size);

/// mlx-lm's recipes of mixed bits: mixed_2_6, mixed_3_4, mixed_3_6, mixed_4_6.
std::vector<std::string> mlx_recipes();

/// What one matrix becomes, and whether config.json needs an entry for it.
struct MlxChoice {
  MlxForm form;
  bool own_entry = false;
};

/// Decides for each tensor of a model in MLX layout, as mlx-lm does.
class MlxQuantizer {
 public:
  /// recipe: empty, or one of mlx_recipes(), which sets the bits. Throws
  /// UserError for a recipe that isn't known or doesn't go with the mode.
  MlxQuantizer(
      const MlxForm& form,
      std::string_view recipe,
      const nlohmann::json& config);

  /// nullopt: the tensor stays as it is.
  std::optional<MlxChoice> choose(const RowTensor& tensor) const;

  /// config.json's "quantization" for these tensors.
  nlohmann::json entry(const std::vector<RowTensor>& tensors) const;

 private:
  std::optional<MlxChoice> choose_by_recipe(std::string_view module) const;

  MlxForm form_;
  int low_bits_ = 0;  ///< of the recipe; 0: there is none
  int high_bits_ = 0;
  std::string model_type_;
  int layers_ = 0;
};

/// What config.json says of a form.
nlohmann::json json_of(const MlxForm& form);

/// The tensors that a packed matrix becomes: codes, scales and, for affine,
/// biases. dtype: that of the matrix before.
std::vector<PlannedTensor> plan_packed(
    const RowTensor& tensor,
    const MlxForm& form,
    mlx::core::Dtype dtype);

}  // namespace roofline
