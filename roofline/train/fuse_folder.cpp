#include "roofline/train/fuse_folder.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "roofline/base/errors.h"
#include "roofline/base/half.h"
#include "roofline/weights/encodings.h"
#include "roofline/weights/json_file.h"
#include "roofline/weights/mlx_global_scale.h"
#include "roofline/weights/mlx_packed.h"
#include "roofline/weights/name_tensors.h"
#include "roofline/weights/printable.h"
#include "roofline/weights/save.h"
#include "roofline/weights/shards.h"

namespace roofline {

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using Bytes = std::vector<std::byte>;

constexpr std::string_view kWeight = ".weight";

std::uint16_t to_bf16(float value) {
  std::uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof(bits));
  if ((bits & 0x7fffffffu) > 0x7f800000u) {
    return static_cast<std::uint16_t>((bits >> 16) | 0x40);  // stays no number
  }
  return static_cast<std::uint16_t>(
      (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

void append_floats(
    std::span<const float> values,
    Encoding encoding,
    Bytes& out) {
  for (const float value : values) {
    std::byte bytes[4];
    std::size_t size = 2;
    if (encoding == Encoding::f32) {
      size = 4;
      std::memcpy(bytes, &value, size);
    } else {
      const std::uint16_t half =
          encoding == Encoding::f16 ? f32_to_f16(value) : to_bf16(value);
      std::memcpy(bytes, &half, size);
    }
    out.insert(out.end(), bytes, bytes + size);
  }
}

/// The float that is read back.
float rounded(float value, Encoding encoding) {
  if (encoding == Encoding::f16) {
    return f16_to_f32(f32_to_f16(value));
  }
  return encoding == Encoding::bf16 ? bf16_to_f32(to_bf16(value)) : value;
}

/// Scales and biases as they are stored, and the nearest codes with those:
/// eight bits are finer than what a bfloat16 scale loses.
void settle(
    std::span<const float> values,
    AffineForm form,
    Encoding dtype,
    AffineRow row) {
  const auto group = static_cast<std::size_t>(form.group_size);
  const auto most = static_cast<float>((1 << form.bits) - 1);
  for (std::size_t g = 0; g < row.scales.size(); ++g) {
    const float scale = row.scales[g] = rounded(row.scales[g], dtype);
    const float bias = row.biases[g] = rounded(row.biases[g], dtype);
    for (std::size_t i = g * group; i < (g + 1) * group; ++i) {
      const float code =
          scale == 0 ? 0 : std::nearbyint((values[i] - bias) / scale);
      row.codes[i] = static_cast<std::uint8_t>(std::clamp(code, 0.0f, most));
    }
  }
}

/// The bytes that a changed tensor becomes.
struct Changed {
  Bytes weight, scales, biases;
};

void append_codes(std::span<const std::uint8_t> codes, int bits, Bytes& out) {
  for (std::size_t i = 0; i < codes.size(); ++i) {
    if (bits == 8) {
      out.push_back(static_cast<std::byte>(codes[i]));
    } else if (i % 2 == 0) {
      out.push_back(static_cast<std::byte>(codes[i] | (codes[i + 1] << 4)));
    }
  }
}

/// Of a tensor that lies [in, out]: its columns are the rows that change.
Bytes change_columns(
    const Tensor& tensor,
    const FileChanges& changes,
    Encoding floats) {
  const auto rows = static_cast<std::size_t>(tensor.rows);
  const auto cols = static_cast<std::size_t>(tensor.cols);
  std::vector<float> all(rows * cols);
  for (std::size_t row = 0; row < rows; ++row) {
    decode_row(
        tensor,
        static_cast<std::int64_t>(row),
        std::span(all).subspan(row * cols, cols));
  }
  Tensor turned = tensor;
  std::swap(turned.rows, turned.cols);
  std::vector<float> column(rows);
  for (std::size_t col = 0; col < cols; ++col) {
    for (std::size_t row = 0; row < rows; ++row) {
      column[row] = all[row * cols + col];
    }
    changes.apply(turned, static_cast<std::int64_t>(col), column);
    for (std::size_t row = 0; row < rows; ++row) {
      all[row * cols + col] = column[row];
    }
  }
  Bytes out;
  append_floats(all, floats, out);
  return out;
}

Changed change_tensor(
    const Tensor& tensor,
    const FileChanges& changes,
    std::optional<AffineForm> requantize,
    Encoding floats) {
  Changed out;
  if (tensor.rows > 1 && changes.is_turned(tensor.name)) {
    out.weight = change_columns(tensor, changes, floats);
    return out;
  }
  const auto cols = static_cast<std::size_t>(tensor.cols);
  std::vector<float> values(cols);
  std::vector<std::uint8_t> codes(cols);
  const auto groups =
      requantize ? cols / static_cast<std::size_t>(requantize->group_size) : 0;
  std::vector<float> scales(groups);
  std::vector<float> biases(groups);
  for (std::int64_t row = 0; row < tensor.rows; ++row) {
    decode_row(tensor, row, values);
    changes.apply(tensor, row, values);
    if (!requantize) {
      append_floats(values, floats, out.weight);
      continue;
    }
    const AffineRow quantized = {codes, scales, biases};
    quantize_row(values, *requantize, quantized);
    settle(values, *requantize, tensor.affine.dtype, quantized);
    append_codes(codes, requantize->bits, out.weight);
    append_floats(scales, tensor.affine.dtype, out.scales);
    append_floats(biases, tensor.affine.dtype, out.biases);
  }
  return out;
}

/// Copies one folder of safetensors with changes.
class Writer {
 public:
  Writer(
      const Checkpoint& checkpoint,
      const WeightChanges& changes,
      FuseQuantized quantized)
      : checkpoint_(checkpoint),
        changes_(changes, NameStyle::hugging_face, checkpoint.spec()),
        quantized_(quantized),
        shards_(checkpoint.path()),
        stored_(read_json_file(checkpoint.path() / "config.json")),
        config_(stored_) {}

  /// Throws where a change has no place.
  void find_changes() {
    for (const auto* entry : shards_.entries()) {
      if (!is_side(*entry) && (is_packed(*entry) || entry->encoding())) {
        changes_.add(entry->name);
      }
    }
    changes_.require_all();
  }

  void write(const fs::path& target, bool force) {
    find_changes();
    CheckpointWriter writer(target, {.force = force});
    writer.plan(plan());
    for (const auto* entry : shards_.entries()) {
      put(writer, *entry);
    }
    writer.write_text("config.json", config_.dump(2) + "\n");
    for (const auto& file : fs::directory_iterator(checkpoint_.path())) {
      const auto name = file.path().filename().string();
      const bool weights = name.find(".safetensors") != std::string::npos;
      if (file.is_regular_file() && !weights && name != "config.json") {
        writer.copy_file(file.path());
      }
    }
    writer.publish();
  }

 private:
  static bool is_packed(const SafetensorsEntry& entry) {
    return entry.dtype == "U32" && entry.name.ends_with(kWeight);
  }

  bool is_side(const SafetensorsEntry& entry) const {
    return packed_of(entry) != nullptr;
  }

  const SafetensorsEntry* packed_of(const SafetensorsEntry& entry) const {
    return packed_weight_of(entry.name, shards_);
  }

  Tensor tensor_of(const SafetensorsEntry& entry) const {
    if (!is_packed(entry)) {
      return shaped_tensor(entry);
    }
    const std::string module(without_weight(entry.name));
    const std::string label = checkpoint_.path().string();
    const auto packing = packing_of(module, stored_, label);
    const Tensor packed = mlx_tensor(
        entry,
        shards_.find(module + ".scales"),
        shards_.find(module + ".biases"),
        packing.value_or(StoredQuantization{}),
        label);
    const auto* scales = shards_.find(module + ".global_scale");
    if (scales == nullptr) {
      return packed;
    }
    auto parts = with_global_scales(packed, *scales, label);
    if (parts.size() != 1) {
      fail<UnsupportedError>(
          fmt::format("{}: can't change {}", label, printable(entry.name)),
          "It has a global_scale for each expert",
          "Make floats of it first: roofline convert --dequantize");
    }
    return parts[0];
  }

  std::optional<AffineForm> requantized(const SafetensorsEntry& entry) const {
    if (!is_packed(entry) || quantized_ == FuseQuantized::decode) {
      return std::nullopt;
    }
    const auto tensor = tensor_of(entry);
    const bool known = tensor.encoding == Encoding::mlx_affine &&
                       (tensor.affine.bits == 4 || tensor.affine.bits == 8);
    return known ? std::optional<AffineForm>(
                       {tensor.affine.bits, tensor.affine.group_size})
                 : std::nullopt;
  }

  /// The packed weight becomes floats.
  bool is_decoded(const SafetensorsEntry& entry) const {
    return is_packed(entry) && changes_.changes(entry.name) &&
           !requantized(entry);
  }

  std::vector<PlannedTensor> plan() {
    std::vector<PlannedTensor> planned;
    for (const auto* entry : shards_.entries()) {
      const auto* packed = packed_of(*entry);
      if (packed != nullptr && is_decoded(*packed)) {
        continue;
      }
      if (!is_decoded(*entry)) {
        planned.push_back({entry->name, entry->dtype, entry->shape});
        continue;
      }
      const auto tensor = tensor_of(*entry);
      planned.push_back({entry->name, "BF16", {tensor.rows, tensor.cols}});
      for (const char* key : {"quantization", "quantization_config"}) {
        if (config_.contains(key) && config_[key].is_object()) {
          config_[key][std::string(without_weight(entry->name))] = false;
        }
      }
    }
    return planned;
  }

  void put(CheckpointWriter& writer, const SafetensorsEntry& entry) const {
    const auto* packed = packed_of(entry);
    if (packed != nullptr && changes_.changes(packed->name)) {
      return;  // comes with its weight, or not at all
    }
    if (!changes_.changes(entry.name)) {
      writer.put(entry.name, entry.bytes);
      return;
    }
    const auto tensor = tensor_of(entry);
    const auto form = requantized(entry);
    const auto floats = is_packed(entry) ? Encoding::bf16 : tensor.encoding;
    const auto changed = change_tensor(tensor, changes_, form, floats);
    writer.put(entry.name, changed.weight);
    if (form) {
      const std::string module(without_weight(entry.name));
      writer.put(module + ".scales", changed.scales);
      writer.put(module + ".biases", changed.biases);
    }
  }

  const Checkpoint& checkpoint_;
  FileChanges changes_;
  FuseQuantized quantized_;
  Shards shards_;
  const Json stored_;  ///< how the tensors that are read are packed
  Json config_;        ///< of what is written
};

}  // namespace

void require_place_in_folder(
    const Checkpoint& checkpoint,
    const WeightChanges& changes) {
  Writer(checkpoint, changes, FuseQuantized::decode).find_changes();
}

void write_changed_folder(
    const Checkpoint& checkpoint,
    const WeightChanges& changes,
    const fs::path& target,
    FuseQuantized quantized,
    bool force) {
  Writer(checkpoint, changes, quantized).write(target, force);
}

}  // namespace roofline
