#include "roofline/quantize/mlx_writer.h"

#include <algorithm>
#include <array>
#include <cstring>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/base/half.h"
#include "roofline/weights/encodings.h"
#include "roofline/weights/json_file.h"
#include "roofline/weights/mlx_packed.h"

namespace roofline {

namespace fs = std::filesystem;
using nlohmann::json;
using nlohmann::ordered_json;

namespace {

/// Values that are cast and written at a time.
constexpr std::size_t kPieceValues = std::size_t{1} << 20;

fs::path float_folder(const Checkpoint& checkpoint) {
  if (!fs::is_directory(checkpoint.path())) {
    fail<UnsupportedError>(
        "Can't quantize " + checkpoint.path().string() + " to a folder",
        "Only a folder of safetensors has the names and the tokenizer's files "
        "that MLX's layout asks for",
        "Make a folder of it first, for example with transformers' "
        "from_pretrained(gguf_file=…) and save_pretrained");
  }
  return checkpoint.path();
}

std::string without_weight(const std::string& name) {
  constexpr std::string_view kEnd = ".weight";
  return name.ends_with(kEnd) ? name.substr(0, name.size() - kEnd.size())
                              : name;
}

const char* dtype_text(Encoding dtype) {
  return dtype == Encoding::f32    ? "F32"
         : dtype == Encoding::bf16 ? "BF16"
                                   : "F16";
}

std::size_t dtype_bytes(Encoding dtype) {
  return dtype == Encoding::f32 ? 4 : 2;
}

/// Floats as bytes of this type.
std::vector<std::byte> cast(std::span<const float> values, Encoding dtype) {
  std::vector<std::byte> bytes(values.size() * dtype_bytes(dtype));
  if (dtype == Encoding::f32) {
    std::memcpy(bytes.data(), values.data(), bytes.size());
    return bytes;
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::uint16_t half = dtype == Encoding::bf16 ? f32_to_bf16(values[i])
                                                       : f32_to_f16(values[i]);
    std::memcpy(bytes.data() + 2 * i, &half, sizeof(half));
  }
  return bytes;
}

ordered_json format_json(const MatrixFormat& format) {
  return {
      {"group_size", format.group_size},
      {"bits", format.bits},
      {"mode", mode_name(format.mode)}};
}

bool stored_plainly(const NamedRows& rows) {
  return !rows.transposed && !rows.stacked;
}

}  // namespace

MlxWriter::MlxWriter(
    const Checkpoint& checkpoint,
    FormatPlan& plan,
    Encoding dtype,
    const fs::path& target,
    bool force)
    : checkpoint_(checkpoint),
      dtype_(dtype),
      shards_(float_folder(checkpoint)),
      writer_(target, {force}) {
  list_entries();
  settle_formats(plan);
  for (const Stored& stored : stored_) {
    for (const NamedRows& part : stored.parts) {
      places_.emplace(part.name, Place{&stored, part});
    }
  }
  std::int64_t parameters = 0;
  for (const Tensor& tensor : checkpoint.tensors()) {
    parameters += tensor.rows * tensor.cols;
  }
  writer_.plan(planned(), parameters);
}

void MlxWriter::list_entries() {
  for (const SafetensorsEntry* entry : shards_.entries()) {
    if (!entry->encoding()) {
      fail<UnsupportedError>(
          fmt::format("The tensor {} is {}", entry->name, entry->dtype),
          "What is quantized already would lose more by being quantized again",
          "Take the source's floats");
    }
    Stored stored{entry, without_weight(entry->name), {}, {}};
    stored.format = {QuantMode::keep, 16, 1};
    stored.parts = map_tensor_name(
        stored.module,
        NameStyle::hugging_face,
        checkpoint_.spec());
    // A tied head that is stored beside the embedding is a copy.
    const bool needed = std::any_of(
        stored.parts.begin(),
        stored.parts.end(),
        [&](const NamedRows& part) {
          return checkpoint_.find(part.name) != nullptr;
        });
    if (needed) {
      stored_.push_back(std::move(stored));
    }
  }
}

void MlxWriter::settle_formats(FormatPlan& plan) {
  for (Stored& stored : stored_) {
    const bool plainly =
        std::all_of(stored.parts.begin(), stored.parts.end(), stored_plainly);
    for (const NamedRows& part : stored.parts) {
      const auto found = plan.formats.find(part.name);
      if (found != plan.formats.end() && plainly &&
          (stored.format.mode == QuantMode::keep ||
           found->second.bits_per_weight() > stored.format.bits_per_weight())) {
        stored.format = found->second;
      }
    }
    for (const NamedRows& part : stored.parts) {
      const auto found = plan.formats.find(part.name);
      if (found == plan.formats.end()) {
        continue;
      }
      if (!plainly && found->second.mode != QuantMode::keep) {
        plan.unfit.push_back(part.name);
      }
      found->second = stored.format;
    }
  }
}

std::vector<PlannedTensor> MlxWriter::planned() const {
  std::vector<PlannedTensor> out;
  for (const Stored& stored : stored_) {
    const auto& entry = *stored.entry;
    const MatrixFormat& format = stored.format;
    if (format.mode == QuantMode::keep) {
      out.push_back({entry.name, dtype_text(dtype_), entry.shape});
      continue;
    }
    auto words = entry.shape;
    auto groups = entry.shape;
    words.back() = words.back() * format.bits / 32;
    groups.back() /= format.group_size;
    const bool affine = format.mode == QuantMode::affine;
    const std::string scale_type = affine ? dtype_text(dtype_) : "U8";
    out.push_back({stored.module + ".weight", "U32", words});
    out.push_back({stored.module + ".scales", scale_type, groups});
    if (affine) {
      out.push_back({stored.module + ".biases", scale_type, groups});
    }
  }
  return out;
}

void MlxWriter::put_rows(
    const std::string& tensor,
    std::span<const std::byte> bytes,
    std::size_t row_bytes,
    const NamedRows& rows) {
  if (rows.rows == 0) {
    writer_.put(tensor, bytes);
    return;
  }
  const std::size_t run = static_cast<std::size_t>(rows.rows) * row_bytes;
  for (std::int64_t i = 0; i < rows.runs; ++i) {
    const auto first =
        static_cast<std::size_t>(rows.row_begin + i * rows.run_stride);
    writer_.put(
        tensor,
        bytes.subspan(static_cast<std::size_t>(i) * run, run),
        first * row_bytes);
  }
}

void MlxWriter::put_codes(const std::string& name, const PackedCodes& codes) {
  const Place& place = places_.at(name);
  const auto rows = static_cast<std::size_t>(codes.rows);
  const auto put = [&](const char* end, const std::vector<std::byte>& bytes) {
    put_rows(
        place.stored->module + end,
        bytes,
        bytes.size() / rows,
        place.rows);
  };
  put(".weight", codes.words);
  put(".scales", codes.scales);
  if (!codes.biases.empty()) {
    put(".biases", codes.biases);
  }
}

void MlxWriter::put_floats(const std::string& name, const FloatMatrix& values) {
  changed_.insert_or_assign(name, values);
}

void MlxWriter::write_floats() {
  for (const Stored& stored : stored_) {
    if (stored.format.mode != QuantMode::keep) {
      continue;
    }
    const auto changed = changed_.find(stored.parts[0].name);
    if (changed != changed_.end()) {
      writer_.put(stored.entry->name, cast(changed->second.values, dtype_));
      continue;
    }
    const Tensor tensor = shaped_tensor(*stored.entry);
    const auto cols = static_cast<std::size_t>(tensor.cols);
    const auto most = std::max<std::int64_t>(
        1,
        static_cast<std::int64_t>(
            kPieceValues / std::max(cols, std::size_t{1})));
    std::vector<float> values;
    for (std::int64_t first = 0; first < tensor.rows; first += most) {
      const std::int64_t count = std::min(most, tensor.rows - first);
      values.resize(static_cast<std::size_t>(count) * cols);
      for (std::int64_t row = 0; row < count; ++row) {
        decode_row(
            tensor,
            first + row,
            std::span(values).subspan(
                static_cast<std::size_t>(row) * cols,
                cols));
      }
      writer_.put(
          stored.entry->name,
          cast(values, dtype_),
          static_cast<std::size_t>(first) * cols * dtype_bytes(dtype_));
    }
  }
}

/// The source's, with the format that most matrices have, and an entry for
/// each that has another.
ordered_json MlxWriter::config() const {
  ordered_json config = read_json_file(checkpoint_.path() / "config.json");
  std::vector<std::pair<MatrixFormat, int>> counts;
  for (const Stored& stored : stored_) {
    if (stored.format.mode == QuantMode::keep) {
      continue;
    }
    const auto found =
        std::find_if(counts.begin(), counts.end(), [&](const auto& each) {
          return each.first == stored.format;
        });
    if (found == counts.end()) {
      counts.emplace_back(stored.format, 1);
    } else {
      ++found->second;
    }
  }
  if (counts.empty()) {
    return config;
  }
  const auto most = std::max_element(
      counts.begin(),
      counts.end(),
      [](const auto& a, const auto& b) { return a.second < b.second; });
  ordered_json quantization = format_json(most->first);
  for (const Stored& stored : stored_) {
    if (stored.format.mode != QuantMode::keep && stored.format != most->first) {
      quantization[stored.module] = format_json(stored.format);
    }
  }
  config["quantization"] = quantization;
  config["quantization_config"] = quantization;
  config["torch_dtype"] = dtype_ == Encoding::f32    ? "float32"
                          : dtype_ == Encoding::bf16 ? "bfloat16"
                                                     : "float16";
  config.erase("dtype");
  return config;
}

void MlxWriter::copy_files() {
  constexpr std::array<std::string_view, 4> kKinds = {
      ".json",
      ".jinja",
      ".model",
      ".txt"};
  for (const auto& file : fs::directory_iterator(checkpoint_.path())) {
    const auto name = file.path().filename().string();
    const bool kind =
        std::any_of(kKinds.begin(), kKinds.end(), [&](std::string_view end) {
          return name.ends_with(end);
        });
    if (file.is_regular_file() && kind && name != "config.json" &&
        !name.ends_with(".index.json")) {
      writer_.copy_file(file.path());
    }
  }
}

void MlxWriter::publish(const std::string& summary) {
  write_floats();
  writer_.write_text("config.json", config().dump(2) + "\n");
  copy_files();
  writer_.write_text(
      "README.md",
      fmt::format(
          "---\nlibrary_name: mlx\ntags:\n- mlx\n---\n# {}\n{}\n",
          checkpoint_.path().filename().string(),
          summary));
  writer_.publish();
}

std::vector<std::vector<std::string>> stored_together(
    const Checkpoint& checkpoint) {
  std::vector<std::vector<std::string>> out;
  if (!fs::is_directory(checkpoint.path())) {
    return out;
  }
  const Shards shards(checkpoint.path());
  for (const SafetensorsEntry* entry : shards.entries()) {
    std::vector<std::string> names;
    for (const NamedRows& part : map_tensor_name(
             without_weight(entry->name),
             NameStyle::hugging_face,
             checkpoint.spec())) {
      names.push_back(part.name);
    }
    if (names.size() > 1) {
      out.push_back(std::move(names));
    }
  }
  return out;
}

Encoding default_dtype(const Checkpoint& checkpoint) {
  std::map<Encoding, std::size_t> bytes;
  for (const Tensor& tensor : checkpoint.tensors()) {
    bytes[tensor.encoding] += tensor.total_bytes();
  }
  const auto most = std::max_element(
      bytes.begin(),
      bytes.end(),
      [](const auto& a, const auto& b) { return a.second < b.second; });
  if (most != bytes.end() &&
      (most->first == Encoding::f16 || most->first == Encoding::bf16)) {
    return most->first;
  }
  return checkpoint.spec().embedding_scale != 1.0f ? Encoding::bf16
                                                   : Encoding::f16;
}

}  // namespace roofline
