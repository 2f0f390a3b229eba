#include "roofline/weights/mlx_packed.h"

#include <array>
#include <string_view>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/weights/printable.h"

namespace roofline {

using nlohmann::json;

namespace {

constexpr int kWordBits = 32;

bool known_bits(const json& bits) {
  return bits == 2 || bits == 3 || bits == 4 || bits == 5 || bits == 6 ||
         bits == 8;
}

bool known_group(const json& group) {
  return group == 32 || group == 64 || group == 128;
}

/// A mode of small floats, whose sizes are given.
struct FloatMode {
  std::string_view name;
  Encoding encoding;
  int bits;
  int group_size;
};

constexpr std::array kFloatModes = {
    FloatMode{"mxfp4", Encoding::mlx_mxfp4, 4, 32},
    FloatMode{"nvfp4", Encoding::mlx_nvfp4, 4, 16},
    FloatMode{"mxfp8", Encoding::mlx_mxfp8, 8, 32},
};

const FloatMode* find_float_mode(const json& name) {
  for (const FloatMode& mode : kFloatModes) {
    if (name == mode.name) {
      return &mode;
    }
  }
  return nullptr;
}

[[noreturn]] void fail_packed(
    const std::string& label,
    const std::string& name,
    const std::string& why) {
  fail<CheckpointError>(
      fmt::format(
          "{}: the quantized tensor {} can't be right",
          label,
          printable(name)),
      why,
      "Check that config.json belongs to these weights");
}

/// How many columns the packed words hold.
std::int64_t unpacked_cols(
    const Tensor& packed,
    StoredQuantization packing,
    const std::string& label) {
  const std::int64_t bits = packed.cols * kWordBits;
  const std::int64_t cols = bits / packing.bits;
  if (packed.cols > INT64_MAX / kWordBits || bits % packing.bits != 0 ||
      cols % packing.group_size != 0) {
    fail_packed(
        label,
        packed.name,
        fmt::format(
            "Its rows of {} words are no groups of {} codes of {} bits",
            packed.cols,
            packing.group_size,
            packing.bits));
  }
  return cols;
}

Tensor side_tensor(
    const SafetensorsEntry* entry,
    const char* kind,
    const Tensor& packed,
    const std::string& label) {
  if (entry == nullptr) {
    fail_packed(label, packed.name, fmt::format("Its {} are missing", kind));
  }
  const bool affine = packed.encoding == Encoding::mlx_affine;
  if (affine ? !entry->encoding() : entry->dtype != "U8") {
    fail_packed(
        label,
        packed.name,
        fmt::format(
            "Its {} are {}; they must be {}",
            kind,
            entry->dtype,
            affine ? "F32, F16 or BF16" : "U8"));
  }
  const Tensor out = shaped_tensor(*entry);
  const std::int64_t groups = packed.cols / packed.affine.group_size;
  if (out.rows != packed.rows || out.cols != groups) {
    fail_packed(
        label,
        packed.name,
        fmt::format(
            "With {} bits in groups of {} it has {} × {} values, which asks "
            "for {} × {} {}; there are {} × {}",
            packed.affine.bits,
            packed.affine.group_size,
            packed.rows,
            packed.cols,
            packed.rows,
            groups,
            kind,
            out.rows,
            out.cols));
  }
  return out;
}

}  // namespace

std::optional<StoredQuantization> packing_of(
    const std::string& module,
    const json& config,
    const std::string& label) {
  auto found = config.find("quantization");
  if (found == config.end()) {
    found = config.find("quantization_config");
  }
  if (found == config.end() || !found->is_object()) {
    return std::nullopt;
  }
  const json* rule = &*found;
  const auto own = found->find(module);
  if (own != found->end() && own->is_boolean() && !own->get<bool>()) {
    return std::nullopt;
  }
  if (own != found->end() && own->is_object()) {
    rule = &*own;
  }
  const json mode = rule->value("mode", json("affine"));
  if (const FloatMode* known = find_float_mode(mode)) {
    return StoredQuantization{
        known->bits,
        known->group_size,
        std::string(known->name)};
  }
  if (mode != "affine") {
    fail<UnsupportedError>(
        fmt::format("{}: can't read {}", label, printable(module)),
        "It is quantized in the mode " + printable(mode.dump()) +
            "; affine, mxfp4, nvfp4 and mxfp8 can be read",
        "Take a checkpoint of one of these or an unquantized one");
  }
  const json bits = rule->value("bits", json());
  const json group = rule->value("group_size", json());
  if (!known_bits(bits) || !known_group(group)) {
    fail<CheckpointError>(
        fmt::format(
            "{}: config.json's quantization of {} can't be right",
            label,
            printable(module)),
        fmt::format(
            "It says bits {} and group_size {}; bits can be 2, 3, 4, 5, 6 or "
            "8 and groups 32, 64 or 128",
            printable(bits.dump()),
            printable(group.dump())),
        "Check that config.json belongs to these weights");
  }
  return StoredQuantization{bits.get<int>(), group.get<int>(), "affine"};
}

Tensor mlx_tensor(
    const SafetensorsEntry& weight,
    const SafetensorsEntry* scales,
    const SafetensorsEntry* biases,
    StoredQuantization packing,
    const std::string& label) {
  Tensor out = shaped_tensor(weight);
  const FloatMode* mode = find_float_mode(packing.scheme);
  out.encoding = mode ? mode->encoding : Encoding::mlx_affine;
  out.cols = unpacked_cols(out, packing, label);
  out.affine.bits = packing.bits;
  out.affine.group_size = packing.group_size;
  const Tensor scale = side_tensor(scales, "scales", out, label);
  out.affine.scales = scale.bytes;
  if (mode) {
    if (biases != nullptr) {
      fail_packed(
          label,
          weight.name,
          fmt::format("It has biases, which {} doesn't have", mode->name));
    }
    return out;
  }
  const Tensor bias = side_tensor(biases, "biases", out, label);
  if (scale.encoding != bias.encoding) {
    fail_packed(
        label,
        weight.name,
        fmt::format(
            "Its scales are {} and its biases {}",
            scales->dtype,
            biases->dtype));
  }
  out.affine.dtype = scale.encoding;
  out.affine.biases = bias.bytes;
  return out;
}

const SafetensorsEntry* packed_weight_of(
    std::string_view side,
    const Shards& shards) {
  for (const std::string_view end : {".scales", ".biases", ".global_scale"}) {
    if (side.ends_with(end)) {
      const std::string_view module = side.substr(0, side.size() - end.size());
      const auto* weight = shards.find(std::string(module) + ".weight");
      return weight != nullptr && weight->dtype == "U32" ? weight : nullptr;
    }
  }
  return nullptr;
}

Tensor shaped_tensor(const SafetensorsEntry& entry) {
  Tensor out;
  out.name = entry.name;
  out.encoding = entry.encoding().value_or(Encoding::f32);
  out.cols = entry.shape.empty() ? 1 : entry.shape.back();
  out.rows = 1;
  for (std::size_t i = 0; i + 1 < entry.shape.size(); ++i) {
    out.rows *= entry.shape[i];
  }
  out.bytes = entry.bytes;
  return out;
}

}  // namespace roofline
