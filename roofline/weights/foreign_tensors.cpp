#include "roofline/weights/foreign_tensors.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <system_error>
#include <utility>

#include "roofline/base/errors.h"
#include "roofline/spec/language_config.h"
#include "roofline/weights/foreign_names.h"
#include "roofline/weights/json_file.h"
#include "roofline/weights/printable.h"

namespace roofline {

using nlohmann::json;
using namespace foreign_names;

namespace {

std::string text_in(const json& object, const char* name) {
  const json value = object.value(name, json());
  return value.is_string() ? value.get<std::string>() : "";
}

bool true_in(const json& object, const char* name) {
  return object.value(name, json()) == json(true);
}

}  // namespace

ForeignTensors::ForeignTensors(
    const json& config,
    const Shards& shards,
    const std::string& label)
    : shards_(shards), label_(label) {
  const json& holder =
      config.contains("quantization_config") ? config : language_config(config);
  const auto found = holder.find("quantization_config");
  if (config.contains("quantization") || found == holder.end() ||
      !found->is_object()) {
    return;
  }
  const std::string method = text_in(*found, "quant_method");
  if (method == "gptq") {
    read_gptq(*found);
  } else if (method == "awq") {
    read_awq(*found);
  } else if (method == "compressed-tensors") {
    read_compressed(*found);
  } else if (method == "fp8" || method == "fbgemm_fp8") {
    method_ = Method::fp8;
    const json block = found->value("weight_block_size", json());
    if (block.is_array() && block.size() == 2 && block[0].is_number_integer() &&
        block[1].is_number_integer() && block[0] > 0 && block[1] > 0) {
      block_rows_ = block[0].get<int>();
      block_cols_ = block[1].get<int>();
    }
  } else if (method == "bitnet") {
    read_bitnet(*found);
  } else if (method == "mxfp4") {
    method_ = Method::mxfp4;
  } else if (method == "modelopt") {
    read_modelopt(*found);
  }
}

void ForeignTensors::read_gptq(const json& config) {
  method_ = Method::gptq;
  const std::string format = text_in(config, "checkpoint_format");
  if (!format.empty() && format != "gptq" && format != "gptq_v2") {
    refuse_format(format);
  }
  if (true_in(config, "is_marlin_format")) {
    refuse_format("marlin");
  }
  zero_shift_ = format == "gptq_v2" ? 0 : 1;
  const json bits = config.value("bits", json(4));
  if (bits != 2 && bits != 3 && bits != 4 && bits != 8) {
    refuse(
        "It has " + printable(bits.dump()) + " bits; 2, 3, 4 and 8 are known");
  }
  bits_ = bits.get<int>();
  const json group = config.value("group_size", json(128));
  group_size_ = group.is_number_integer() && group > 0 ? group.get<int>() : 0;
}

void ForeignTensors::read_awq(const json& config) {
  method_ = Method::awq;
  std::string version = text_in(config, "version");
  std::transform(version.begin(), version.end(), version.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  if (!version.empty() && version != "gemm") {
    refuse("Its version is " + printable(version) + "; gemm is known");
  }
  const json bits = config.value("bits", json(4));
  if (bits != 4) {
    refuse("It has " + printable(bits.dump()) + " bits; 4 are known");
  }
  const json group = config.value("group_size", json(128));
  group_size_ = group.is_number_integer() && group > 0 ? group.get<int>() : 0;
}

void ForeignTensors::read_compressed(const json& config) {
  method_ = Method::compressed;
  const json sparsity = config.value("sparsity_config", json());
  const std::string sparse =
      sparsity.is_object() ? text_in(sparsity, "format") : "";
  if (!sparse.empty() && sparse != "dense") {
    refuse("Its weights are sparse (" + printable(sparse) + ")");
  }
  check_compressed_format(config);
  for (const json& group : config.value("config_groups", json::object())) {
    if (group.is_object()) {
      check_compressed_format(group);
    }
    const json weights =
        group.is_object() ? group.value("weights", json()) : json();
    const json block =
        weights.is_object() ? weights.value("block_structure", json()) : json();
    if (block.is_array() && block.size() == 2 && block[0].is_number_integer() &&
        block[1].is_number_integer() && block[0] > 0 && block[1] > 0) {
      block_rows_ = block[0].get<int>();
      block_cols_ = block[1].get<int>();
    }
  }
}

/// "format" of the whole or of a group of modules.
void ForeignTensors::check_compressed_format(const json& config) const {
  constexpr std::array kFormats = {
      "dense",
      "int-quantized",
      "float-quantized",
      "naive-quantized",
      "pack-quantized",
      "nvfp4-pack-quantized",
      "mxfp4-pack-quantized",
      "mxfp8-quantized",
      "mixed-precision"};
  const std::string format = text_in(config, "format");
  if (!format.empty() &&
      std::find(kFormats.begin(), kFormats.end(), format) == kFormats.end()) {
    refuse(fmt::format(
        "Its format is {}; {} are known",
        printable(format),
        fmt::join(kFormats, ", ")));
  }
}

/// What a matrix is follows from its tensors; algorithms that also change what
/// it is multiplied with can't be read.
void ForeignTensors::read_modelopt(const json& config) {
  method_ = Method::modelopt;
  constexpr std::array kAlgorithms = {
      "FP8",
      "FP8_PER_CHANNEL_PER_TOKEN",
      "FP8_PB_WO",
      "FP8_PB_REAL",
      "MXFP8",
      "NVFP4",
      "W4A16_NVFP4",
      "MIXED_PRECISION"};
  if (config.value("quant_algo", json()).is_null()) {
    return;  // the weights are floats
  }
  const std::string algorithm = text_in(config, "quant_algo");
  if (std::find(kAlgorithms.begin(), kAlgorithms.end(), algorithm) ==
      kAlgorithms.end()) {
    refuse(fmt::format(
        "Its quant_algo is {}; {} are known",
        printable(algorithm),
        fmt::join(kAlgorithms, ", ")));
  }
}

void ForeignTensors::read_bitnet(const json& config) {
  method_ = Method::bitnet;
  if (true_in(config, "use_rms_norm")) {
    refuse("Its linear layers have norms of their own (use_rms_norm)");
  }
  inverse_scale_ = text_in(config, "linear_class") != "autobitlinear";
}

std::string_view ForeignTensors::name() const {
  constexpr std::array<std::string_view, 8> kNames = {
      "",
      "GPTQ",
      "AWQ",
      "compressed-tensors",
      "fp8",
      "bitnet",
      "mxfp4",
      "ModelOpt"};
  return kNames[static_cast<std::size_t>(method_)];
}

void ForeignTensors::refuse(const std::string& why) const {
  fail<UnsupportedError>(
      fmt::format("{}: can't read its {} weights", label_, name()),
      why,
      "Take a checkpoint of another layout or an unquantized one");
}

void ForeignTensors::refuse_format(const std::string& format) const {
  fail<UnsupportedError>(
      fmt::format("{}: can't read its {} weights", label_, name()),
      "Its checkpoint_format is " + printable(format) +
          ", which orders the codes as one program's GPU kernel reads them",
      "Take the checkpoint that it was repacked from (checkpoint_format gptq "
      "or gptq_v2), or an unquantized one");
}

void ForeignTensors::fail_tensor(std::string_view name, const std::string& why)
    const {
  fail<CheckpointError>(
      fmt::format(
          "{}: the quantized tensor {} can't be right",
          label_,
          printable(name)),
      why,
      "Check that config.json belongs to these weights");
}

const SafetensorsEntry& ForeignTensors::needed(
    const std::string& name,
    const SafetensorsEntry& of) const {
  const SafetensorsEntry* found = shards_.find(name);
  if (found == nullptr) {
    fail_tensor(of.name, "There is no " + printable(name) + " beside it");
  }
  return *found;
}

bool ForeignTensors::is_side(const SafetensorsEntry& entry) const {
  if (method_ == Method::mxfp4 && entry.name.ends_with(kScales)) {
    const std::string module =
        entry.name.substr(0, entry.name.size() - kScales.size());
    return shards_.find(module + std::string(kBlocks)) != nullptr;
  }
  struct Side {
    std::string_view end;
    std::string_view codes;
  };
  constexpr std::array kSides = {
      Side{".qzeros", ".qweight"},
      Side{".scales", ".qweight"},
      Side{".g_idx", ".qweight"},
      Side{".weight_shape", ".weight_packed"},
      Side{".weight_g_idx", ".weight_packed"},
      Side{".weight_scale", ".weight_packed"},
      Side{".weight_zero_point", ".weight_packed"},
      Side{".weight_global_scale", ".weight_packed"},
      Side{".weight_scale", ".weight"},
      Side{".weight_zero_point", ".weight"},
      Side{".weight_scale_inv", ".weight"},
      Side{".weight_scale_2", ".weight"},
      // What activations or the cache would be quantized with.
      Side{".input_scale", ""},
      Side{".input_global_scale", ""},
      Side{".input_zero_point", ""},
      Side{".output_scale", ""},
      Side{".activation_scale", ""},
      Side{".input_scale_ub", ""},
      Side{".q_scale", ""},
      Side{".k_scale", ""},
      Side{".v_scale", ""},
  };
  return std::any_of(kSides.begin(), kSides.end(), [&](const Side& side) {
    return entry.name.ends_with(side.end) &&
           (side.codes.empty() ||
            shards_.find(module_of(entry.name) + std::string(side.codes)));
  });
}

bool ForeignTensors::is_empty_bias(const SafetensorsEntry& entry) const {
  constexpr std::string_view kBias = ".bias";
  if (method_ != Method::gptq || !entry.name.ends_with(kBias) ||
      !shards_.find(module_of(entry.name) + ".qweight")) {
    return false;
  }
  return std::all_of(entry.bytes.begin(), entry.bytes.end(), [](std::byte b) {
    return b == std::byte{0};
  });
}

std::optional<Tensor> ForeignTensors::read(
    const SafetensorsEntry& entry) const {
  const bool matrix = entry.shape.size() == 2;
  switch (method_) {
    case Method::gptq:
    case Method::awq:
      if (matrix && entry.dtype == "I32" && entry.name.ends_with(".qweight")) {
        return transposed(entry);
      }
      return std::nullopt;
    case Method::compressed:
      if (matrix && entry.name.ends_with(".weight_packed")) {
        if (entry.dtype == "U8") {
          return packed_floats(entry);
        }
        if (entry.dtype == "I32") {
          return packed_int(entry);
        }
      }
      [[fallthrough]];
    case Method::modelopt:
      if (matrix && entry.dtype == "U8" && entry.name.ends_with(kWeight)) {
        return packed_floats(entry);
      }
      [[fallthrough]];
    case Method::fp8:
      if (matrix && entry.name.ends_with(kWeight) &&
          (entry.dtype == "I8" || entry.dtype == "F8_E4M3")) {
        return plain(entry);
      }
      return std::nullopt;
    case Method::bitnet:
      if (matrix && entry.dtype == "U8" && entry.name.ends_with(kWeight)) {
        return bitnet(entry);
      }
      return std::nullopt;
    case Method::mxfp4:
      if (entry.dtype == "U8" && entry.name.ends_with(kBlocks)) {
        return mxfp4(entry);
      }
      return std::nullopt;
    case Method::none:
      break;
  }
  return std::nullopt;
}

json folder_config(const std::filesystem::path& folder) {
  json config = read_json_file(folder / "config.json");
  const std::filesystem::path beside = folder / "hf_quant_config.json";
  std::error_code error;
  if (!config.is_object() || config.contains("quantization") ||
      config.contains("quantization_config") ||
      !std::filesystem::is_regular_file(beside, error)) {
    return config;
  }
  const json file = read_json_file(beside);
  json own = file.is_object() ? file.value("quantization", json()) : json();
  // Without an algorithm only the cache was quantized, whose scales are there.
  if (own.is_object()) {
    own["quant_method"] = "modelopt";
    config["quantization_config"] = std::move(own);
  }
  return config;
}

}  // namespace roofline
