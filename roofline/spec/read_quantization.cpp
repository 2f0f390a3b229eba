#include "roofline/spec/read_quantization.h"

#include <fmt/format.h>

#include "roofline/base/errors.h"

namespace roofline {

namespace {

using Json = nlohmann::json;

void check_affine(Fields& quantization) {
  const auto mode = quantization.text("mode");
  if (mode && *mode != "affine") {
    fail<UnsupportedError>(
        fmt::format("{} is {}", quantization.label("mode"), shown(*mode)),
        "Only affine quantization is known",
        "Use a checkpoint that was quantized with mode affine");
  }
}

int read_bits(Fields& quantization, int other) {
  const auto bits = quantization.integer("bits", {1, 64}).value_or(other);
  if (bits < 2 || bits > 8 || bits == 7) {
    quantization.refuse("bits", "It must be 2, 3, 4, 5, 6 or 8");
  }
  return static_cast<int>(bits);
}

int read_group(Fields& quantization, int other) {
  const auto size =
      quantization.integer("group_size", {1, 1 << 20}).value_or(other);
  if (size != 16 && size != 32 && size != 64 && size != 128) {
    quantization.refuse("group_size", "It must be 32, 64 or 128");
  }
  return static_cast<int>(size);
}

StoredQuantization read_mlx_quantization(
    const Json& object,
    const std::string& name) {
  Fields fields(object, name + ".");
  check_affine(fields);
  StoredQuantization out;
  out.bits = read_bits(fields, out.bits);
  out.group_size = read_group(fields, out.group_size);
  // What is left names single tensors: false, or a form of their own.
  for (const std::string& tensor : fields.unread()) {
    const Json& value = object.at(tensor);
    if (value.is_object()) {
      Fields own(value, fields.label(tensor) + ".");
      check_affine(own);
      read_bits(own, out.bits);
      read_group(own, out.group_size);
    } else if (!value.is_boolean()) {
      fields.refuse(tensor, "It must be true, false or an object");
    }
  }
  return out;
}

}  // namespace

std::optional<StoredQuantization> read_quantization(Fields& config) {
  const Json* foreign = config.find("quantization_config");
  const Json* ours = config.find("quantization");
  for (const Json* value : {foreign, ours}) {
    if (value && value->is_object() && value->contains("quant_method")) {
      fail<UnsupportedError>(
          fmt::format(
              "The weights are quantized with {}",
              shown(value->at("quant_method"))),
          "Roofline reads MLX's affine quantization and GGUF's",
          "Use a checkpoint in one of these, or the unquantized one");
    }
  }
  if (ours) {
    return read_mlx_quantization(*ours, config.label("quantization"));
  }
  if (foreign) {
    return read_mlx_quantization(*foreign, config.label("quantization_config"));
  }
  return std::nullopt;
}

}  // namespace roofline
