#include "roofline/train/fuse.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>

#include <fmt/format.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include "roofline/base/errors.h"
#include "roofline/base/half.h"
#include "roofline/spec/tensor_names.h"
#include "roofline/weights/encodings.h"
#include "roofline/weights/json_file.h"
#include "roofline/weights/mlx_packed.h"
#include "roofline/weights/save.h"
#include "roofline/weights/shards.h"

namespace roofline {

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using Bytes = std::vector<std::byte>;

constexpr std::string_view kWeight = ".weight";

std::string module_of(const std::string& name) {
  return name.ends_with(kWeight) ? name.substr(0, name.size() - kWeight.size())
                                 : name;
}

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

/// What happens to the rows of one tensor of the file.
struct RowsChange {
  NamedRows rows;
  const RowChange* change = nullptr;
};

/// Which row of the changed weight a row of the file is; −1: none of its.
std::int64_t row_inside(const NamedRows& rows, std::int64_t row) {
  const std::int64_t from_begin = row - rows.row_begin;
  if (from_begin < 0 || rows.rows == 0) {
    return from_begin < 0 ? -1 : from_begin;
  }
  const std::int64_t run =
      rows.runs > 1 ? from_begin / std::max<std::int64_t>(1, rows.run_stride)
                    : 0;
  const std::int64_t inside = from_begin - run * rows.run_stride;
  return run < rows.runs && inside < rows.rows ? run * rows.rows + inside : -1;
}

void change_row(
    const Tensor& tensor,
    std::int64_t row,
    std::span<const RowsChange> changes,
    std::span<float> values) {
  for (const auto& each : changes) {
    if (tensor.rows > 1) {
      const std::int64_t inside = row_inside(each.rows, row);
      if (inside >= 0) {
        (*each.change)(inside, values);
      }
      continue;
    }
    // Of a vector the elements are the rows.
    std::vector<std::size_t> places;
    std::vector<float> part;
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (row_inside(each.rows, static_cast<std::int64_t>(i)) >= 0) {
        places.push_back(i);
        part.push_back(values[i]);
      }
    }
    (*each.change)(0, part);
    for (std::size_t i = 0; i < places.size(); ++i) {
      values[places[i]] = part[i];
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

Changed change_tensor(
    const Tensor& tensor,
    std::span<const RowsChange> changes,
    std::optional<AffineForm> requantize,
    Encoding floats) {
  Changed out;
  const auto cols = static_cast<std::size_t>(tensor.cols);
  std::vector<float> values(cols);
  std::vector<std::uint8_t> codes(cols);
  const auto groups =
      requantize ? cols / static_cast<std::size_t>(requantize->group_size) : 0;
  std::vector<float> scales(groups);
  std::vector<float> biases(groups);
  for (std::int64_t row = 0; row < tensor.rows; ++row) {
    decode_row(tensor, row, values);
    change_row(tensor, row, changes, values);
    if (!requantize) {
      append_floats(values, floats, out.weight);
      continue;
    }
    quantize_row(values, *requantize, {codes, scales, biases});
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
        changes_(changes),
        quantized_(quantized),
        shards_(checkpoint.path()),
        config_(read_json_file(checkpoint.path() / "config.json")) {}

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
  void find_changes() {
    std::set<std::string> found;
    for (const auto* entry : shards_.entries()) {
      const auto module = module_of(entry->name);
      if (is_side(*entry) || !(is_packed(*entry) || entry->encoding())) {
        continue;
      }
      for (const auto& rows : map_tensor_name(
               module,
               NameStyle::hugging_face,
               checkpoint_.spec())) {
        const auto change = changes_.find(rows.name);
        if (change != changes_.end() && !rows.transposed && !rows.stacked) {
          by_entry_[entry->name].push_back({rows, &change->second});
          found.insert(rows.name);
        }
      }
    }
    for (const auto& [name, change] : changes_) {
      if (found.count(name) == 0) {
        fail<UnsupportedError>(
            fmt::format("{} can't be changed on disk", name),
            "The files hold it in a form that isn't known here",
            "Use the adapter as it is, with --adapter");
      }
    }
  }

  static bool is_packed(const SafetensorsEntry& entry) {
    return entry.dtype == "U32" && entry.name.ends_with(kWeight);
  }

  bool is_side(const SafetensorsEntry& entry) const {
    return packed_of(entry) != nullptr;
  }

  /// The packed weight that scales or biases belong to.
  const SafetensorsEntry* packed_of(const SafetensorsEntry& entry) const {
    for (std::string_view end : {".scales", ".biases"}) {
      if (entry.name.ends_with(end)) {
        const auto module =
            entry.name.substr(0, entry.name.size() - end.size());
        const auto* weight = shards_.find(module + std::string(kWeight));
        return weight != nullptr && is_packed(*weight) ? weight : nullptr;
      }
    }
    return nullptr;
  }

  Tensor tensor_of(const SafetensorsEntry& entry) const {
    if (!is_packed(entry)) {
      return shaped_tensor(entry);
    }
    const auto module = module_of(entry.name);
    const auto packing =
        packing_of(module, config_, checkpoint_.path().string());
    return mlx_tensor(
        entry,
        shards_.find(module + ".scales"),
        shards_.find(module + ".biases"),
        packing.value_or(StoredQuantization{}),
        checkpoint_.path().string());
  }

  std::optional<AffineForm> requantized(const SafetensorsEntry& entry) const {
    if (!is_packed(entry) || quantized_ == FuseQuantized::decode) {
      return std::nullopt;
    }
    const auto tensor = tensor_of(entry);
    const bool known = tensor.affine.bits == 4 || tensor.affine.bits == 8;
    return known ? std::optional<AffineForm>(
                       {tensor.affine.bits, tensor.affine.group_size})
                 : std::nullopt;
  }

  /// The packed weight becomes floats.
  bool is_decoded(const SafetensorsEntry& entry) const {
    return is_packed(entry) && by_entry_.count(entry.name) != 0 &&
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
          config_[key][module_of(entry->name)] = false;
        }
      }
    }
    return planned;
  }

  void put(CheckpointWriter& writer, const SafetensorsEntry& entry) const {
    const auto* packed = packed_of(entry);
    if (packed != nullptr && by_entry_.count(packed->name) != 0) {
      return;  // comes with its weight, or not at all
    }
    const auto found = by_entry_.find(entry.name);
    if (found == by_entry_.end()) {
      writer.put(entry.name, entry.bytes);
      return;
    }
    const auto tensor = tensor_of(entry);
    const auto form = requantized(entry);
    const auto floats = is_packed(entry) ? Encoding::bf16 : tensor.encoding;
    const auto changed = change_tensor(tensor, found->second, form, floats);
    writer.put(entry.name, changed.weight);
    if (form) {
      const auto module = module_of(entry.name);
      writer.put(module + ".scales", changed.scales);
      writer.put(module + ".biases", changed.biases);
    }
  }

  const Checkpoint& checkpoint_;
  const WeightChanges& changes_;
  FuseQuantized quantized_;
  Shards shards_;
  Json config_;
  std::map<std::string, std::vector<RowsChange>> by_entry_;
};

/// An adapter's matrix in plain memory.
struct Delta {
  int rank;
  int cols;
  float scale;
  float weight;  ///< of what it changes
  std::vector<float> a, b;
  std::vector<float> magnitude;  ///< empty without DoRA
};

/// What the adapter alone makes of a row.
std::vector<float> adapted_row(
    const Delta& delta,
    std::int64_t row,
    std::span<const float> stored) {
  std::vector<float> sum(stored.begin(), stored.end());
  for (int r = 0; r < delta.rank; ++r) {
    const float factor =
        delta.scale * delta.b[static_cast<std::size_t>(row * delta.rank + r)];
    const float* a = delta.a.data() + std::ptrdiff_t{r} * delta.cols;
    for (std::size_t c = 0; c < sum.size(); ++c) {
      sum[c] += factor * a[c];
    }
  }
  if (!delta.magnitude.empty()) {
    double squares = 0;
    for (const float value : sum) {
      squares += static_cast<double>(value) * value;
    }
    const auto factor = static_cast<float>(
        delta.magnitude[static_cast<std::size_t>(row)] / std::sqrt(squares));
    for (float& value : sum) {
      value *= factor;
    }
  }
  return sum;
}

std::vector<float> to_host(mx::array array) {
  array = mx::contiguous(array);
  mx::eval(array);
  return {array.data<float>(), array.data<float>() + array.size()};
}

}  // namespace

WeightChanges adapter_changes(
    std::span<const Adapter> adapters,
    std::span<const float> weights) {
  std::map<std::string, std::vector<Delta>> deltas;
  for (std::size_t i = 0; i < adapters.size(); ++i) {
    for (const auto& matrix : adapters[i].matrices) {
      Delta delta{
          matrix.a.shape(0),
          matrix.a.shape(1),
          adapters[i].scale,
          weights[i],
          to_host(matrix.a),
          to_host(matrix.b),
          {}};
      if (matrix.magnitude) {
        delta.magnitude = to_host(*matrix.magnitude);
      }
      deltas[matrix.name].push_back(std::move(delta));
    }
  }
  WeightChanges changes;
  for (auto& [name, list] : deltas) {
    changes[name] =
        [list = std::move(list)](std::int64_t row, std::span<float> values) {
          const std::vector<float> stored(values.begin(), values.end());
          for (const auto& delta : list) {
            const auto changed = adapted_row(delta, row, stored);
            for (std::size_t c = 0; c < values.size(); ++c) {
              values[c] += delta.weight * (changed[c] - stored[c]);
            }
          }
        };
  }
  return changes;
}

void write_changed_model(
    const Checkpoint& checkpoint,
    const WeightChanges& changes,
    const fs::path& target,
    FuseQuantized quantized,
    bool force) {
  if (!fs::is_directory(checkpoint.path())) {
    fail<UnsupportedError>(
        fmt::format(
            "{} can't be written with changed weights",
            checkpoint.path().string()),
        "Only folders of safetensors can",
        "Convert the model to one first");
  }
  Writer(checkpoint, changes, quantized).write(target, force);
}

}  // namespace roofline
