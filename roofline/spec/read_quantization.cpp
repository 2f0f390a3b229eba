#include "roofline/spec/read_quantization.h"

#include <array>
#include <string_view>

#include <fmt/format.h>

#include "roofline/base/errors.h"

namespace roofline {

namespace {

using Json = nlohmann::json;

/// MLX's modes and the one size that all but affine have.
struct Mode {
  std::string_view name;
  int bits;
  int group_size;
};

constexpr std::array kModes = {
    Mode{"affine", 4, 64},
    Mode{"mxfp4", 4, 32},
    Mode{"nvfp4", 4, 16},
    Mode{"mxfp8", 8, 32},
};

const Mode& read_mode(Fields& quantization, std::string_view other) {
  const std::string name =
      quantization.text("mode").value_or(std::string(other));
  for (const Mode& mode : kModes) {
    if (mode.name == name) {
      return mode;
    }
  }
  fail<UnsupportedError>(
      fmt::format("{} is {}", quantization.label("mode"), shown(name)),
      "The modes known are affine, mxfp4, nvfp4 and mxfp8",
      "Use a checkpoint that was quantized with one of these");
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

StoredQuantization read_form(Fields& fields, const StoredQuantization& other) {
  const Mode& mode = read_mode(fields, other.scheme);
  const bool same = mode.name == other.scheme;
  StoredQuantization out;
  out.scheme = mode.name;
  out.bits = read_bits(fields, same ? other.bits : mode.bits);
  out.group_size =
      read_group(fields, same ? other.group_size : mode.group_size);
  if (mode.name != "affine" &&
      (out.bits != mode.bits || out.group_size != mode.group_size)) {
    fields.refuse(
        "mode",
        fmt::format(
            "It has {} bits in groups of {}",
            mode.bits,
            mode.group_size));
  }
  return out;
}

StoredQuantization read_mlx_quantization(
    const Json& object,
    const std::string& name) {
  Fields fields(object, name + ".");
  const StoredQuantization out = read_form(fields, {});
  // What is left names single tensors: false, or a form of their own.
  for (const std::string& tensor : fields.unread()) {
    const Json& value = object.at(tensor);
    if (value.is_object()) {
      Fields own(value, fields.label(tensor) + ".");
      read_form(own, out);
    } else if (!value.is_boolean()) {
      fields.refuse(tensor, "It must be true, false or an object");
    }
  }
  return out;
}

/// The first of compressed-tensors' groups stands for all: it's the tensors
/// that say how each is packed.
StoredQuantization read_compressed(const Json& object) {
  StoredQuantization out{8, 0, "compressed-tensors"};
  const auto groups = object.find("config_groups");
  if (groups == object.end() || !groups->is_object() || groups->empty() ||
      !groups->front().is_object()) {
    return out;
  }
  const Json weights = groups->front().value("weights", Json());
  if (!weights.is_object()) {
    return out;
  }
  const Json bits = weights.value("num_bits", Json());
  const Json group = weights.value("group_size", Json());
  if (bits.is_number_integer() && bits > 0 && bits <= 8) {
    out.bits = bits.get<int>();
  }
  if (group.is_number_integer() && group > 0 && group <= kMaxDim) {
    out.group_size = group.get<int>();
  }
  return out;
}

/// NVIDIA's ModelOpt: its algorithms of one name a precision.
StoredQuantization read_modelopt(const Json& object) {
  const Json algorithm = object.value("quant_algo", Json());
  const std::string name =
      algorithm.is_string() ? algorithm.get<std::string>() : "";
  if (name.find("NVFP4") != std::string::npos) {
    return {4, 16, "modelopt"};
  }
  return {8, name == "MXFP8" ? 32 : 0, "modelopt"};
}

/// A null algorithm: the cache alone is quantized, or nothing.
bool leaves_weights(const Json& object) {
  return object.value("quant_method", Json()) == Json("modelopt") &&
         object.value("quant_algo", Json()).is_null();
}

StoredQuantization read_foreign(const Json& object, const std::string& name) {
  Fields fields(object, name + ".");
  const std::string method = fields.text("quant_method").value_or("");
  if (method == "compressed-tensors") {
    return read_compressed(object);
  }
  if (method == "fp8" || method == "fbgemm_fp8") {
    return {8, 0, "fp8"};
  }
  if (method == "bitnet") {
    return {2, 0, method};
  }
  if (method == "mxfp4") {
    return {4, 32, method};
  }
  if (method == "modelopt") {
    return read_modelopt(object);
  }
  if (method == "gptq" || method == "awq") {
    StoredQuantization out{4, 128, method};
    out.bits = static_cast<int>(fields.integer("bits", {2, 8}).value_or(4));
    const auto group =
        fields.integer("group_size", {-1, kMaxDim}).value_or(128);
    out.group_size = group > 0 ? static_cast<int>(group) : 0;
    return out;
  }
  fail<UnsupportedError>(
      fmt::format("The weights are quantized with {}", shown(Json(method))),
      "Roofline reads MLX's and GGUF's quantization, GPTQ, AWQ, "
      "compressed-tensors, fp8, bitnet, mxfp4 and ModelOpt's",
      "Use a checkpoint in one of these, or the unquantized one");
}

}  // namespace

std::optional<StoredQuantization> read_quantization(Fields& config) {
  const Json* foreign = config.find("quantization_config");
  const Json* ours = config.find("quantization");
  if (ours) {
    return read_mlx_quantization(*ours, config.label("quantization"));
  }
  if (!foreign || (foreign->is_object() && leaves_weights(*foreign))) {
    return std::nullopt;
  }
  if (foreign->is_object() && foreign->contains("quant_method")) {
    return read_foreign(*foreign, config.label("quantization_config"));
  }
  return read_mlx_quantization(*foreign, config.label("quantization_config"));
}

}  // namespace roofline
