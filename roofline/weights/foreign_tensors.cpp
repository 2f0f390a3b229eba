#include "roofline/weights/foreign_tensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "roofline/base/errors.h"
#include "roofline/weights/mlx_packed.h"
#include "roofline/weights/printable.h"

namespace roofline {

using nlohmann::json;

namespace {

constexpr std::string_view kWeight = ".weight";
constexpr std::string_view kBlocks = "_blocks";
constexpr std::string_view kScales = "_scales";

std::int64_t ceil_div(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}

bool ends_with(std::string_view text, std::string_view end) {
  return text.size() >= end.size() &&
         text.substr(text.size() - end.size()) == end;
}

/// "a.b.qweight" → "a.b"
std::string module_of(std::string_view name) {
  return std::string(name.substr(0, name.rfind('.')));
}

std::string text_in(const json& object, const char* name) {
  const json value = object.value(name, json());
  return value.is_string() ? value.get<std::string>() : "";
}

bool true_in(const json& object, const char* name) {
  return object.value(name, json()) == json(true);
}

std::string shape_text(const SafetensorsEntry& entry) {
  std::string out;
  for (const std::int64_t size : entry.shape) {
    out += (out.empty() ? "" : " × ") + std::to_string(size);
  }
  return out;
}

}  // namespace

ForeignTensors::ForeignTensors(
    const json& config,
    const Shards& shards,
    const std::string& label)
    : shards_(shards), label_(label) {
  const json* holder = &config;
  if (!config.contains("quantization_config")) {
    const auto text = config.find("text_config");
    if (text != config.end() && text->is_object()) {
      holder = &*text;
    }
  }
  const auto found = holder->find("quantization_config");
  if (config.contains("quantization") || found == holder->end() ||
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
  }
}

void ForeignTensors::read_gptq(const json& config) {
  method_ = Method::gptq;
  const std::string format = text_in(config, "checkpoint_format");
  if (!format.empty() && format != "gptq" && format != "gptq_v2") {
    refuse("Its checkpoint_format is " + printable(format));
  }
  if (true_in(config, "is_marlin_format")) {
    refuse("It is in Marlin's format");
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
  for (const json& group : config.value("config_groups", json::object())) {
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

void ForeignTensors::read_bitnet(const json& config) {
  method_ = Method::bitnet;
  if (true_in(config, "use_rms_norm")) {
    refuse("Its linear layers have norms of their own (use_rms_norm)");
  }
  inverse_scale_ = text_in(config, "linear_class") != "autobitlinear";
}

std::string_view ForeignTensors::name() const {
  constexpr std::array<std::string_view, 7> kNames =
      {"", "GPTQ", "AWQ", "compressed-tensors", "fp8", "bitnet", "mxfp4"};
  return kNames[static_cast<std::size_t>(method_)];
}

void ForeignTensors::refuse(const std::string& why) const {
  fail<UnsupportedError>(
      fmt::format("{}: can't read its {} weights", label_, name()),
      why,
      "Take a checkpoint of another layout or an unquantized one");
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
  if (method_ == Method::mxfp4 && ends_with(entry.name, kScales)) {
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
      Side{".weight_scale", ".weight"},
      Side{".weight_zero_point", ".weight"},
      Side{".weight_scale_inv", ".weight"},
      // What activations or the cache would be quantized with.
      Side{".input_scale", ""},
      Side{".input_zero_point", ""},
      Side{".output_scale", ""},
      Side{".activation_scale", ""},
      Side{".input_scale_ub", ""},
      Side{".k_scale", ""},
      Side{".v_scale", ""},
  };
  return std::any_of(kSides.begin(), kSides.end(), [&](const Side& side) {
    return ends_with(entry.name, side.end) &&
           (side.codes.empty() ||
            shards_.find(module_of(entry.name) + std::string(side.codes)));
  });
}

bool ForeignTensors::is_empty_bias(const SafetensorsEntry& entry) const {
  constexpr std::string_view kBias = ".bias";
  if (method_ != Method::gptq || !ends_with(entry.name, kBias) ||
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
      if (matrix && entry.dtype == "I32" && ends_with(entry.name, ".qweight")) {
        return transposed(entry);
      }
      return std::nullopt;
    case Method::compressed:
      if (matrix && entry.dtype == "I32" &&
          ends_with(entry.name, ".weight_packed")) {
        return packed_int(entry);
      }
      [[fallthrough]];
    case Method::fp8:
      if (matrix && ends_with(entry.name, kWeight) &&
          (entry.dtype == "I8" || entry.dtype == "F8_E4M3")) {
        return plain(entry);
      }
      return std::nullopt;
    case Method::bitnet:
      if (matrix && entry.dtype == "U8" && ends_with(entry.name, kWeight)) {
        return bitnet(entry);
      }
      return std::nullopt;
    case Method::mxfp4:
      if (entry.dtype == "U8" && ends_with(entry.name, kBlocks)) {
        return mxfp4(entry);
      }
      return std::nullopt;
    case Method::none:
      break;
  }
  return std::nullopt;
}

/// Blocks [..., rows, groups, 16] of two codes a byte, the first in the low
/// bits, and scales [..., rows, groups]: the bytes are those of MLX's mxfp4.
Tensor ForeignTensors::mxfp4(const SafetensorsEntry& blocks) const {
  constexpr std::int64_t kGroup = 32;
  const std::string module =
      blocks.name.substr(0, blocks.name.size() - kBlocks.size());
  const SafetensorsEntry& scales =
      needed(module + std::string(kScales), blocks);
  const std::size_t axes = blocks.shape.size();
  if (axes < 3 || blocks.shape[axes - 1] != kGroup / 2 ||
      scales.dtype != "U8" ||
      !std::equal(
          scales.shape.begin(),
          scales.shape.end(),
          blocks.shape.begin(),
          blocks.shape.end() - 1)) {
    fail_tensor(
        blocks.name,
        "Each group of 16 bytes must have a byte of scale in " + scales.name);
  }
  Tensor out;
  out.name = blocks.name;
  out.encoding = Encoding::mlx_mxfp4;
  out.cols = blocks.shape[axes - 2] * kGroup;
  out.rows = 1;
  for (std::size_t i = 0; i + 2 < axes; ++i) {
    out.rows *= blocks.shape[i];
  }
  out.bytes = blocks.bytes;
  out.affine.bits = 4;
  out.affine.group_size = static_cast<int>(kGroup);
  out.affine.scales = scales.bytes;
  return out;
}

void ForeignTensors::set_scales(Tensor& tensor, const SafetensorsEntry& scales)
    const {
  if (!scales.encoding()) {
    fail_tensor(
        scales.name,
        fmt::format(
            "It has {}; scales must be F32, F16 or BF16",
            scales.dtype));
  }
  tensor.foreign.dtype = *scales.encoding();
  tensor.foreign.scales = scales.bytes;
}

/// Row-major codes: one scale for all, one a row, or one a block.
void set_block(
    Tensor& tensor,
    const SafetensorsEntry& scales,
    std::int64_t block_rows,
    std::int64_t block_cols) {
  Tensor::Foreign& f = tensor.foreign;
  const std::int64_t count = scales.elements();
  if (count == 1) {
    f.block_rows = tensor.rows;
    f.block_cols = tensor.cols;
  } else if (count == tensor.rows && scales.shape[0] == tensor.rows) {
    f.block_rows = 1;
    f.block_cols = tensor.cols;
  } else {
    f.block_rows = block_rows;
    f.block_cols = block_cols;
  }
}

bool scales_fit(const Tensor& tensor, const SafetensorsEntry& scales) {
  const Tensor::Foreign& f = tensor.foreign;
  return scales.elements() == ceil_div(tensor.rows, f.block_rows) *
                                  ceil_div(tensor.cols, f.block_cols);
}

void ForeignTensors::set_order(Tensor& tensor, const SafetensorsEntry* groups)
    const {
  if (groups == nullptr) {
    return;
  }
  const std::int64_t count = ceil_div(tensor.cols, tensor.foreign.block_cols);
  if (groups->dtype != "I32" || groups->elements() != tensor.cols) {
    fail_tensor(
        groups->name,
        fmt::format("It must have {} values of I32", tensor.cols));
  }
  bool in_order = true;
  for (std::int64_t c = 0; c < tensor.cols; ++c) {
    std::int32_t group;
    std::memcpy(&group, groups->bytes.data() + 4 * c, sizeof(group));
    if (group == -1) {  // compressed-tensors: not yet ordered
      return;
    }
    if (group < 0 || group >= count) {
      fail_tensor(
          groups->name,
          fmt::format("It names group {} of {}", group, count));
    }
    in_order = in_order && group == c / tensor.foreign.block_cols;
  }
  if (!in_order) {
    tensor.foreign.groups = groups->bytes;
  }
}

/// GPTQ: [in·bits/32, out]; AWQ: [in, out/8]. Scales: [groups, out].
Tensor ForeignTensors::transposed(const SafetensorsEntry& codes) const {
  const bool awq = method_ == Method::awq;
  const std::string module = module_of(codes.name);
  const SafetensorsEntry& scales = needed(module + ".scales", codes);
  const SafetensorsEntry& zeros = needed(module + ".qzeros", codes);
  Tensor out;
  out.name = module + std::string(kWeight);
  out.encoding = awq ? Encoding::awq : Encoding::gptq;
  out.rows = awq ? codes.shape[1] * 8 : codes.shape[1];
  out.cols = awq ? codes.shape[0] : codes.shape[0] * 32 / bits_;
  out.bytes = codes.bytes;
  Tensor::Foreign& f = out.foreign;
  f.bits = bits_;
  f.stored_rows = out.rows;
  f.block_cols = group_size_ > 0 ? group_size_ : out.cols;
  f.zero_shift = zero_shift_;
  f.zeros = zeros.bytes;
  set_scales(out, scales);
  const std::int64_t groups =
      out.cols > 0 ? ceil_div(out.cols, f.block_cols) : 0;
  const std::int64_t zero_words = groups * out.rows * bits_ / 32;
  if (out.cols == 0 || out.rows == 0 || out.cols % 32 != 0 ||
      out.rows * bits_ % 32 != 0 || zeros.dtype != "I32" ||
      scales.elements() != groups * out.rows ||
      zeros.elements() != zero_words) {
    fail_tensor(
        codes.name,
        fmt::format(
            "With {} bits in groups of {} it has {} × {} values; its scales "
            "are {} and its zeros {}",
            bits_,
            f.block_cols,
            out.rows,
            out.cols,
            shape_text(scales),
            shape_text(zeros)));
  }
  if (!awq) {
    set_order(out, shards_.find(module + ".g_idx"));
  }
  return out;
}

/// weight_packed [out, in·bits/32], weight_scale [out, groups],
/// weight_zero_point [out·bits/32, groups], weight_shape [2].
Tensor ForeignTensors::packed_int(const SafetensorsEntry& codes) const {
  const std::string module = module_of(codes.name);
  const SafetensorsEntry& scales = needed(module + ".weight_scale", codes);
  const SafetensorsEntry& shape = needed(module + ".weight_shape", codes);
  std::array<std::int64_t, 2> sizes{};
  if (shape.elements() == 2 && shape.dtype == "I64") {
    std::memcpy(sizes.data(), shape.bytes.data(), sizeof(sizes));
  } else if (shape.elements() == 2 && shape.dtype == "I32") {
    std::array<std::int32_t, 2> narrow;
    std::memcpy(narrow.data(), shape.bytes.data(), sizeof(narrow));
    sizes = {narrow[0], narrow[1]};
  }
  Tensor out;
  out.name = module + std::string(kWeight);
  out.encoding = Encoding::packed_int;
  out.rows = sizes[0];
  out.cols = sizes[1];
  out.bytes = codes.bytes;
  Tensor::Foreign& f = out.foreign;
  const std::int64_t bits_a_row = codes.shape[1] * 32;
  f.bits = out.cols > 0 ? static_cast<int>(bits_a_row / out.cols) : 0;
  f.stored_rows = out.rows;
  const bool known_bits = f.bits == 2 || f.bits == 4 || f.bits == 8;
  if (out.rows <= 0 || out.rows != codes.shape[0] || !known_bits ||
      out.cols * f.bits != bits_a_row || out.cols % 32 != 0) {
    fail_tensor(
        codes.name,
        fmt::format(
            "Its words are {}, its weight_shape says {} × {}",
            shape_text(codes),
            sizes[0],
            sizes[1]));
  }
  set_scales(out, scales);
  const std::int64_t groups =
      std::max<std::int64_t>(1, scales.shape.size() == 2 ? scales.shape[1] : 1);
  set_block(out, scales, 1, ceil_div(out.cols, groups));
  const SafetensorsEntry* zeros = shards_.find(module + ".weight_zero_point");
  if (zeros != nullptr && zeros->dtype == "I32") {
    f.zeros = zeros->bytes;
  }
  if (!scales_fit(out, scales) ||
      (zeros != nullptr &&
       (zeros->dtype != "I32" || out.rows * f.bits % 32 != 0 ||
        zeros->elements() != out.rows * f.bits / 32 * groups))) {
    fail_tensor(
        codes.name,
        fmt::format(
            "Its scales are {} and its zeros {} {}",
            shape_text(scales),
            zeros ? zeros->dtype : "none",
            zeros ? shape_text(*zeros) : ""));
  }
  set_order(out, shards_.find(module + ".weight_g_idx"));
  return out;
}

/// int8 or e4m3 [out, in] with scales for all, for rows, groups or blocks.
Tensor ForeignTensors::plain(const SafetensorsEntry& codes) const {
  const std::string module = module_of(codes.name);
  const SafetensorsEntry* scales = shards_.find(module + ".weight_scale_inv");
  if (scales == nullptr) {
    scales = &needed(module + ".weight_scale", codes);
  }
  const bool int8 = codes.dtype == "I8";
  Tensor out;
  out.name = codes.name;
  out.encoding = int8 ? Encoding::plain_int8 : Encoding::fp8;
  out.rows = codes.shape[0];
  out.cols = codes.shape[1];
  out.bytes = codes.bytes;
  if (out.rows == 0 || out.cols == 0) {
    fail_tensor(codes.name, "It is empty");
  }
  out.foreign.bits = 8;
  out.foreign.stored_rows = out.rows;
  set_scales(out, *scales);
  const bool blocks = scales->shape.size() == 2 &&
                      scales->shape[0] == ceil_div(out.rows, block_rows_) &&
                      scales->shape[1] == ceil_div(out.cols, block_cols_);
  const bool groups = scales->shape.size() == 2 && scales->shape[1] > 0 &&
                      scales->shape[0] == out.rows;
  if (blocks && !int8 && scales->elements() > 1) {
    out.foreign.block_rows = block_rows_;
    out.foreign.block_cols = block_cols_;
  } else {
    set_block(
        out,
        *scales,
        1,
        groups ? ceil_div(out.cols, scales->shape[1]) : out.cols);
  }
  const SafetensorsEntry* zeros = shards_.find(module + ".weight_zero_point");
  if (zeros != nullptr && zeros->dtype == "I8" &&
      zeros->elements() == scales->elements()) {
    out.foreign.zeros = zeros->bytes;
    zeros = nullptr;
  }
  if (!scales_fit(out, *scales) || (zeros != nullptr && int8)) {
    fail_tensor(
        codes.name,
        fmt::format(
            "It is {}, its scales are {}",
            shape_text(codes),
            shape_text(*scales)));
  }
  return out;
}

/// Two bits each: rows r, r + out/4, … share the bytes of row r.
Tensor ForeignTensors::bitnet(const SafetensorsEntry& codes) const {
  const SafetensorsEntry& scales =
      needed(module_of(codes.name) + ".weight_scale", codes);
  Tensor out;
  out.name = codes.name;
  out.encoding = Encoding::bitnet;
  out.rows = codes.shape[0] * 4;
  out.cols = codes.shape[1];
  out.bytes = codes.bytes;
  if (out.rows == 0 || out.cols == 0 || scales.elements() != 1) {
    fail_tensor(
        codes.name,
        fmt::format(
            "It is {}, its scales are {}",
            shape_text(codes),
            shape_text(scales)));
  }
  out.foreign.bits = 2;
  out.foreign.stored_rows = out.rows;
  out.foreign.inverse_scales = inverse_scale_;
  set_scales(out, scales);
  set_block(out, scales, 1, out.cols);
  return out;
}

}  // namespace roofline
