#include "roofline/weights/convert/hf_source.h"

#include <array>
#include <string_view>
#include <system_error>

#include <fmt/format.h>
#include <mlx/ops.h>

#include "roofline/base/errors.h"
#include "roofline/spec/families.h"
#include "roofline/spec/language_config.h"
#include "roofline/spec/read_config.h"
#include "roofline/weights/convert/foreign_source.h"
#include "roofline/weights/encodings.h"
#include "roofline/weights/foreign_tensors.h"
#include "roofline/weights/mlx_global_scale.h"
#include "roofline/weights/mlx_packed.h"
#include "roofline/weights/name_tensors.h"
#include "roofline/weights/printable.h"
#include "roofline/weights/shards.h"

namespace roofline {

namespace fs = std::filesystem;
namespace mx = mlx::core;
using nlohmann::json;

namespace {

constexpr std::string_view kWeight = ".weight";

constexpr std::array kFiles = {
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
    "LICENSE",
};

/// The form of one packed matrix as config.json tells it.
struct Packing {
  int bits = 0;
  int group_size = 0;
  std::string mode = "affine";
};

std::optional<Packing> packing_in(
    const json& config,
    const std::string& module) {
  auto found = config.find("quantization");
  if (found == config.end()) {
    found = config.find("quantization_config");
  }
  if (found == config.end() || !found->is_object()) {
    return std::nullopt;
  }
  const auto own = found->find(module);
  const json& rule = own != found->end() && own->is_object() ? *own : *found;
  const json bits = rule.value("bits", json());
  const json group = rule.value("group_size", json());
  const json mode = rule.value("mode", json("affine"));
  if (!bits.is_number_integer() || !group.is_number_integer() ||
      !mode.is_string()) {
    return std::nullopt;
  }
  return Packing{bits.get<int>(), group.get<int>(), mode.get<std::string>()};
}

mx::Dtype dtype_of(const SafetensorsEntry& entry) {
  return entry.dtype == "F32"    ? mx::float32
         : entry.dtype == "F16"  ? mx::float16
         : entry.dtype == "BF16" ? mx::bfloat16
         : entry.dtype == "U32"  ? mx::uint32
                                 : mx::uint8;
}

/// Rows of an entry of any dtype.
mx::array raw_rows(
    const SafetensorsEntry& entry,
    std::int64_t rows,
    std::int64_t first,
    std::int64_t count) {
  const std::size_t row = entry.bytes.size() / static_cast<std::size_t>(rows);
  return view_bytes(
      entry.bytes.subspan(
          row * static_cast<std::size_t>(first),
          row * static_cast<std::size_t>(count)),
      {static_cast<int>(count), static_cast<int>(entry.shape.back())},
      dtype_of(entry));
}

[[noreturn]] void fail_packed(const std::string& name, const std::string& why) {
  fail<CheckpointError>(
      fmt::format("The packed tensor {} can't be read", printable(name)),
      why,
      "Check that config.json belongs to these weights");
}

/// What multiplies the rows, of each expert in turn; empty without it.
std::vector<float> factors_of(
    const SafetensorsEntry& codes,
    const SafetensorsEntry* scales,
    const std::string& mode,
    std::int64_t rows) {
  if (scales == nullptr) {
    return {};
  }
  auto factors = global_scale_factors(*scales, codes.name);
  if (mode != "nvfp4" ||
      rows % static_cast<std::int64_t>(factors.size()) != 0) {
    fail_packed(
        codes.name,
        "Its global_scale doesn't fit its mode or its rows");
  }
  return factors;
}

/// [count, 1]
mx::array row_factors(
    const std::vector<float>& factors,
    std::int64_t rows,
    std::int64_t first,
    std::int64_t count) {
  const auto each = rows / static_cast<std::int64_t>(factors.size());
  std::vector<float> out;
  for (std::int64_t row = first; row < first + count; ++row) {
    out.push_back(factors[static_cast<std::size_t>(row / each)]);
  }
  return mx::array(out.data(), {static_cast<int>(count), 1}, mx::float32);
}

/// A matrix packed by mx::quantize, unpacked as it is read.
RowTensor unpacked_rows(
    const SafetensorsEntry& codes,
    const Shards& shards,
    const json& config) {
  const std::string module =
      codes.name.substr(0, codes.name.size() - kWeight.size());
  const auto packing = packing_in(config, module);
  const SafetensorsEntry* scales = shards.find(module + ".scales");
  const SafetensorsEntry* biases = shards.find(module + ".biases");
  if (!packing || scales == nullptr) {
    fail_packed(
        codes.name,
        packing ? "Its scales are missing"
                : "config.json has no \"quantization\" for it");
  }
  RowTensor out;
  out.name = codes.name;
  out.shape = codes.shape;
  out.shape.back() = codes.shape.back() * 32 / packing->bits;
  const bool affine = packing->mode == "affine";
  const std::int64_t rows = out.rows();
  const std::int64_t groups = out.cols() / packing->group_size;
  for (const SafetensorsEntry* side : {scales, biases}) {
    if (side == biases && !affine) {
      continue;
    }
    if (side == nullptr || side->elements() != rows * groups ||
        side->shape.back() != groups) {
      fail_packed(codes.name, "Its scales or biases don't fit its codes");
    }
  }
  const SafetensorsEntry* global = shards.find(module + ".global_scale");
  const auto factors = factors_of(codes, global, packing->mode, rows);
  const mx::Dtype small = global == nullptr ? mx::bfloat16 : mx::float32;
  out.dtype = affine ? dtype_of(*scales) : small;
  const auto read =
      [&codes, scales, biases, packing, affine, rows, factors, small](
          std::int64_t first,
          std::int64_t count,
          mx::Stream stream) {
        // Affine codes in float32: their product would be rounded to the
        // scales' type, in which the values may not be asked for.
        const auto side = [&](const SafetensorsEntry& entry) {
          const auto stored = raw_rows(entry, rows, first, count);
          return affine ? mx::astype(stored, mx::float32, stream) : stored;
        };
        const auto values = mx::dequantize(
            raw_rows(codes, rows, first, count),
            side(*scales),
            affine ? std::optional(side(*biases)) : std::nullopt,
            packing->group_size,
            packing->bits,
            packing->mode,
            std::nullopt,
            affine ? std::nullopt : std::optional<mx::Dtype>(small),
            stream);
        return factors.empty() ? values
                               : mx::multiply(
                                     values,
                                     row_factors(factors, rows, first, count),
                                     stream);
      };
  out.pieces.push_back({rows, read});
  return out;
}

bool is_tied(const json& config) {
  const json& inner = language_config(config);
  bool said = false;
  for (const json* place : {&config, &inner}) {
    const auto flag = place->find("tie_word_embeddings");
    if (flag != place->end() && flag->is_boolean()) {
      said = true;
      if (flag->get<bool>()) {
        return true;
      }
    }
  }
  const Family* family = find_family(config.value("model_type", ""));
  return !said && family != nullptr && family->tied;
}

/// Buffers that no model's arithmetic needs.
bool is_buffer(const SafetensorsEntry& entry) {
  return !entry.encoding() && entry.dtype != "U32" &&
         !entry.name.ends_with(kWeight);
}

/// The type that floats of a packed checkpoint had: config.json's, else bf16.
std::string float_type(const json& config) {
  for (const char* name : {"torch_dtype", "dtype"}) {
    const auto found = config.find(name);
    if (found != config.end() && found->is_string()) {
      return found->get<std::string>();
    }
  }
  return "bfloat16";
}

/// Another program's packed matrices, each under its own name. Zeros that a
/// program wrote as a bias of every layer go where the model has none.
class ForeignMatrices {
 public:
  ForeignMatrices(
      const fs::path& folder,
      const json& config,
      const Shards& shards)
      : label_(folder.string()), foreign_(config, shards, label_) {
    const json method = config.value("quantization_config", json());
    if (foreign_.any() || method.contains("quant_method")) {
      spec_ = read_config(config);  // refuses methods that aren't known
    }
  }

  bool any() const { return foreign_.any(); }

  bool is_dropped(const SafetensorsEntry& entry) const {
    return any() &&
           (foreign_.is_side(entry) || (foreign_.is_empty_bias(entry) &&
                                        !is_asked_for(entry.name, spec_)));
  }

  /// nullopt: the entry is none.
  std::optional<RowTensor> read(const SafetensorsEntry& entry, HfSource& source)
      const {
    const auto tensor = foreign_.read(entry);
    if (!tensor) {
      return std::nullopt;
    }
    RowTensor out = foreign_row_tensor(*tensor, entry);
    source.foreign = true;
    if (out.packed() == nullptr && source.without_form.empty()) {
      source.without_form = fmt::format(
          "{} is {}{}",
          printable(tensor->name),
          encoding_text(*tensor),
          tensor->affine.factor == 1 ? ""
                                     : " with a factor for the whole matrix");
    }
    return out;
  }

 private:
  std::string label_;
  ForeignTensors foreign_;
  ModelSpec spec_;
};

}  // namespace

std::vector<fs::path> files_beside_weights(const fs::path& folder) {
  std::vector<fs::path> out;
  for (const char* name : kFiles) {
    std::error_code error;
    if (fs::is_regular_file(folder / name, error)) {
      out.push_back(folder / name);
    }
  }
  return out;
}

HfSource hf_folder_source(const fs::path& folder) {
  HfSource out;
  out.config = folder_config(folder);
  if (!out.config.is_object()) {
    fail<CheckpointError>(
        (folder / "config.json").string() + " is no JSON object",
        "",
        "Download or copy the file again");
  }
  const auto shards = std::make_shared<const Shards>(folder);
  const ForeignMatrices foreign(folder, out.config, *shards);
  if (foreign.any()) {
    out.config["torch_dtype"] = float_type(out.config);
  }
  for (const SafetensorsEntry* entry : shards->entries()) {
    if (packed_weight_of(entry->name, *shards) != nullptr ||
        foreign.is_dropped(*entry)) {
      continue;
    }
    const auto matrix = foreign.read(*entry, out);
    if (!matrix && is_buffer(*entry)) {
      continue;
    }
    const bool packed = entry->dtype == "U32" && entry->name.ends_with(kWeight);
    out.packed |= packed;
    RowTensor tensor = matrix   ? *matrix
                       : packed ? unpacked_rows(*entry, *shards, out.config)
                                : rows_of(*entry, folder.string());
    tensor.release = [entry, shards] {
      for (const SafetensorsFile& file : shards->files()) {
        file.release(entry->bytes);
      }
    };
    out.tensors.push_back(std::move(tensor));
  }
  out.tied = is_tied(out.config);
  out.files = files_beside_weights(folder);
  out.owner = shards;
  return out;
}

}  // namespace roofline
