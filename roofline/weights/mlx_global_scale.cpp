#include "roofline/weights/mlx_global_scale.h"

#include <cmath>
#include <cstring>
#include <string_view>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/weights/expert_tensors.h"
#include "roofline/weights/printable.h"

namespace roofline {

namespace {

/// MLX stores the largest magnitude: 448, the largest scale of a group, times
/// 6, the largest code, stand for it.
constexpr float kLargest = 448.0f * 6.0f;

/// "….switch_mlp.up_proj.weight" → "….experts.N.up_proj.weight"; "" for a name
/// that isn't an experts' stack.
std::string expert_name(std::string name, std::size_t expert) {
  for (const std::string_view stack :
       {".switch_mlp.", ".experts.switch_glu.", ".experts."}) {
    const std::size_t at = name.find(stack);
    if (at != std::string::npos) {
      return name.replace(
          at,
          stack.size(),
          fmt::format(".experts.{}.", expert));
    }
  }
  return "";
}

}  // namespace

std::vector<float> global_scale_factors(
    const SafetensorsEntry& scales,
    const std::string& label) {
  std::vector<float> factors;
  if (scales.dtype == "F32") {
    factors.resize(static_cast<std::size_t>(scales.elements()));
    std::memcpy(factors.data(), scales.bytes.data(), scales.bytes.size());
  }
  bool sound = !factors.empty();
  for (float& factor : factors) {
    // Experts that are zero throughout have a zero.
    sound = sound && std::isfinite(factor) && factor >= 0;
    factor /= kLargest;
  }
  if (!sound) {
    fail<CheckpointError>(
        fmt::format("{}: can't read {}", label, printable(scales.name)),
        "It must be numbers of F32 that aren't negative",
        "Check that the file is whole");
  }
  return factors;
}

std::vector<Tensor> split_experts(const Tensor& stack, std::int64_t experts) {
  std::vector<Tensor> out;
  const std::int64_t rows = stack.rows / experts;
  for (std::int64_t i = 0; i < experts; ++i) {
    out.push_back(row_slice(stack, i * rows, rows));
    out.back().name = expert_name(stack.name, static_cast<std::size_t>(i));
  }
  return out;
}

std::vector<Tensor> with_global_scales(
    const Tensor& packed,
    const SafetensorsEntry& scales,
    const std::string& label) {
  if (packed.encoding != Encoding::mlx_nvfp4) {
    fail<UnsupportedError>(
        fmt::format("{}: can't read {}", label, printable(packed.name)),
        "It has a global_scale, which is known for the mode nvfp4 only",
        "Take a checkpoint that was quantized without it");
  }
  const std::vector<float> factors = global_scale_factors(scales, label);
  if (factors.size() == 1) {
    Tensor whole = packed;
    whole.affine.factor = factors[0];
    return {whole};
  }
  const auto experts = static_cast<std::int64_t>(factors.size());
  const bool named = !expert_name(packed.name, 0).empty();
  if (packed.rows % experts != 0 || !named) {
    fail<UnsupportedError>(
        fmt::format("{}: can't read {}", label, printable(packed.name)),
        named ? fmt::format(
                    "{} scales can't belong to its {} rows",
                    experts,
                    packed.rows)
              : fmt::format(
                    "It has {} scales, and its name isn't that of a stack of "
                    "experts",
                    experts),
        "Take a checkpoint that was quantized without a global_scale");
  }
  std::vector<Tensor> out = split_experts(packed, experts);
  for (std::size_t i = 0; i < factors.size(); ++i) {
    out[i].affine.factor = factors[i];
  }
  return out;
}

}  // namespace roofline
