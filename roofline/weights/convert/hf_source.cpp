#include "roofline/weights/convert/hf_source.h"

#include <array>
#include <string_view>
#include <system_error>

#include <fmt/format.h>
#include <mlx/ops.h>

#include "roofline/base/errors.h"
#include "roofline/spec/families.h"
#include "roofline/weights/json_file.h"
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
  out.dtype = affine ? dtype_of(*scales) : mx::Dtype(mx::bfloat16);
  const auto read = [&codes, scales, biases, packing, affine, rows](
                        std::int64_t first,
                        std::int64_t count,
                        mx::Stream stream) {
    return mx::dequantize(
        raw_rows(codes, rows, first, count),
        raw_rows(*scales, rows, first, count),
        affine ? std::optional(raw_rows(*biases, rows, first, count))
               : std::nullopt,
        packing->group_size,
        packing->bits,
        packing->mode,
        std::nullopt,
        affine ? std::nullopt : std::optional<mx::Dtype>(mx::bfloat16),
        stream);
  };
  out.pieces.push_back({rows, read});
  return out;
}

bool is_side(const std::string& name, const Shards& shards) {
  for (std::string_view end : {".scales", ".biases"}) {
    if (name.ends_with(end)) {
      const auto* codes = shards.find(
          name.substr(0, name.size() - end.size()) + std::string(kWeight));
      return codes != nullptr && codes->dtype == "U32";
    }
  }
  return false;
}

bool is_tied(const json& config) {
  const json& inner =
      config.contains("text_config") && config["text_config"].is_object()
          ? config["text_config"]
          : config;
  for (const json* place : {&config, &inner}) {
    const auto flag = place->find("tie_word_embeddings");
    if (flag != place->end() && flag->is_boolean()) {
      return flag->get<bool>();
    }
  }
  const Family* family = find_family(config.value("model_type", ""));
  return family != nullptr && family->tied;
}

/// Buffers that no model's arithmetic needs.
bool is_buffer(const SafetensorsEntry& entry) {
  return !entry.encoding() && entry.dtype != "U32" &&
         !entry.name.ends_with(kWeight);
}

/// Other tools' packed weights.
void refuse_foreign(const json& config, const fs::path& folder) {
  const auto found = config.find("quantization_config");
  if (found != config.end() && found->is_object() &&
      found->contains("quant_method")) {
    fail<UnsupportedError>(
        fmt::format("Can't convert {}", folder.string()),
        fmt::format(
            "Its weights are quantized with {}; floats and MLX's own forms can "
            "be converted",
            printable((*found)["quant_method"].dump())),
        "Take the unquantized weights");
  }
}

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
  out.config = read_json_file(folder / "config.json");
  if (!out.config.is_object()) {
    fail<CheckpointError>(
        (folder / "config.json").string() + " is no JSON object",
        "",
        "Download or copy the file again");
  }
  refuse_foreign(out.config, folder);
  const auto shards = std::make_shared<const Shards>(folder);
  for (const SafetensorsEntry* entry : shards->entries()) {
    if (is_side(entry->name, *shards) || is_buffer(*entry)) {
      continue;
    }
    const bool packed = entry->dtype == "U32" && entry->name.ends_with(kWeight);
    out.packed |= packed;
    RowTensor tensor = packed ? unpacked_rows(*entry, *shards, out.config)
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
