#include "roofline/plan/planned_model.h"

#include <algorithm>
#include <system_error>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "roofline/base/errors.h"
#include "roofline/base/nearest.h"
#include "roofline/model/held_form.h"
#include "roofline/spec/catalogue.h"
#include "roofline/spec/mixture_names.h"
#include "roofline/spec/read_config.h"
#include "roofline/spec/tensor_names.h"
#include "roofline/spec/tensor_parts.h"
#include "roofline/weights/checkpoint.h"
#include "roofline/weights/encodings.h"
#include "roofline/weights/json_file.h"
#include "roofline/weights/printable.h"

namespace roofline {

namespace fs = std::filesystem;

namespace {

/// A 16-bit scale and a 16-bit bias.
constexpr std::uint64_t kGroupBytes = 4;

bool is_affine(const WeightFormat& format) {
  return format.bits < 16;
}

std::string format_name(const WeightFormat& format) {
  if (is_affine(format)) {
    return fmt::format("affine {}-bit/{}", format.bits, format.group_size);
  }
  return format.bits == 16 ? "bf16" : "f32";
}

/// As the CPU's kernels hold codes.
void hold(ModelTensor& out, const Tensor& codes) {
  const HeldForm form = held_form(codes, false);
  out.held = fmt::format("packed {}", held_name(form));
  out.held_bytes = packed_bytes(form.packed, codes.rows, codes.cols);
}

ModelTensor planned(const Tensor& tensor) {
  ModelTensor out;
  out.name = tensor.name;
  out.rows = tensor.rows;
  out.cols = tensor.cols;
  out.format = encoding_text(tensor);
  out.bytes = tensor.total_bytes();
  out.quantized = !is_float(tensor.encoding);
  if (out.quantized && tensor.rows > 1) {
    hold(out, tensor);
  }
  return out;
}

PlannedModel from_checkpoint(const fs::path& path, std::string name) {
  PlannedModel model =
      plan_checkpoint(std::move(name), *Checkpoint::open(path));
  model.path = path;
  return model;
}

PlannedModel from_spec(std::string name, const ModelSpec& spec) {
  PlannedModel model = plan_spec(std::move(name), spec);
  if (spec.quantization) {
    return quantized(
        model,
        {spec.quantization->bits, spec.quantization->group_size});
  }
  return model;
}

bool has_weights(const fs::path& folder) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string end = entry.path().extension().string();
    if (end == ".safetensors" || end == ".gguf") {
      return true;
    }
  }
  return false;
}

/// The config.json that is all there is of a model; nullopt when there is more.
std::optional<fs::path> bare_config(const fs::path& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) {
    const fs::path config = path / "config.json";
    const bool bare = fs::exists(config, error) && !has_weights(path);
    return bare ? std::optional(config) : std::nullopt;
  }
  return path.extension() == ".json" ? std::optional(path) : std::nullopt;
}

PlannedModel from_path(const fs::path& path, std::string_view name) {
  check_readable(path);
  const fs::path whole = fs::absolute(path).lexically_normal();
  std::string title = whole.has_filename()
                          ? whole.filename().string()
                          : whole.parent_path().filename().string();
  if (const auto config = bare_config(path)) {
    const bool file = *config == path;
    return from_spec(
        file ? std::string(name) : std::move(title),
        read_config(read_json_file(*config)));
  }
  // Weights of a model that can't be run are counted by its config.
  std::error_code error;
  if (fs::exists(path / "config.json", error)) {
    const ModelSpec spec = read_config(read_json_file(path / "config.json"));
    if (missing_mechanism(spec)) {
      PlannedModel model = from_spec(std::move(title), spec);
      model.path = path;
      return model;
    }
  }
  return from_checkpoint(path, std::move(title));
}

[[noreturn]] void refuse_name(std::string_view name) {
  const std::string near = did_you_mean_these(nearest_in_catalogue(name));
  fail<UserError>(
      fmt::format("There is no model {}", printable(name)),
      "It is no file, no folder and no model on this machine, and the "
      "catalogue of shapes has none of that name",
      near + (near.empty() ? "" : " ") +
          "Name a GGUF file, a folder with config.json, or a model of the "
          "catalogue");
}

void store_as(ModelTensor& tensor, const WeightFormat& format) {
  const auto count = static_cast<std::uint64_t>(tensor.count());
  const auto bits = static_cast<std::uint64_t>(format.bits);
  tensor.bytes = count * bits / 8;
  tensor.format = format_name(format);
  if (is_affine(format)) {
    tensor.quantized = true;
    tensor.bytes +=
        count / static_cast<std::uint64_t>(format.group_size) * kGroupBytes;
    if (tensor.cols % kGroup == 0) {
      const PackedForm form =
          packed_form({format.bits <= 4 ? 4 : 8, format.group_size});
      tensor.held = "packed " + form_name(form);
      tensor.held_bytes = packed_bytes(form, tensor.rows, tensor.cols);
    }
  }
}

void store_experts_in_mxfp4(PlannedModel& model) {
  for (ModelTensor& tensor : model.tensors) {
    if (tensor.name.find(kExpertsPart) != std::string::npos &&
        !tensor.name.ends_with(".bias")) {
      Tensor codes;
      codes.name = tensor.name;
      codes.encoding = Encoding::mxfp4;
      codes.rows = tensor.rows;
      codes.cols = tensor.cols;
      constexpr std::uint64_t kBlock = 32;
      constexpr std::uint64_t kBlockBytes = 17;
      tensor.format = "mxfp4";
      tensor.bytes =
          static_cast<std::uint64_t>(tensor.count()) / kBlock * kBlockBytes;
      tensor.quantized = true;
      hold(tensor, codes);
    }
  }
}

}  // namespace

std::string WeightFormat::text() const {
  if (is_affine(*this)) {
    if (!eight_bit.empty() && bits < 8) {
      return fmt::format(
          "int{} (group {}; 8 bits: {})",
          bits,
          group_size,
          fmt::join(eight_bit, ", "));
    }
    return fmt::format("int{} (group {})", bits, group_size);
  }
  return format_name(*this);
}

double WeightFormat::bits_per_weight() const {
  const double beside = static_cast<double>(8 * kGroupBytes) / group_size;
  return bits + (is_affine(*this) ? beside : 0.0);
}

std::int64_t PlannedModel::parameters() const {
  std::int64_t sum = 0;
  for (const ModelTensor& tensor : tensors) {
    sum += tensor.count();
  }
  return sum;
}

std::uint64_t PlannedModel::weight_bytes() const {
  std::uint64_t sum = 0;
  for (const ModelTensor& tensor : tensors) {
    sum += tensor.bytes;
  }
  return sum;
}

PlannedModel plan_model(std::string_view name) {
  std::optional<fs::path> path;
  try {
    path = resolve_model(name);
  } catch (const UserError&) {
    if (name.empty()) {
      throw;
    }
  }
  if (path) {
    return from_path(*path, name);
  }
  if (const CatalogueEntry* entry = find_in_catalogue(name)) {
    ModelSpec spec = catalogue_spec(*entry);
    if (const auto bits = bits_of_name(name)) {
      spec.quantization = StoredQuantization{*bits, 64, "affine"};
    }
    PlannedModel model = from_spec(std::string(entry->name), spec);
    if (entry->experts_in_mxfp4 && !spec.quantization) {
      store_experts_in_mxfp4(model);
    }
    return model;
  }
  refuse_name(name);
}

PlannedModel plan_checkpoint(std::string name, const Checkpoint& checkpoint) {
  PlannedModel model;
  model.name = std::move(name);
  model.spec = checkpoint.spec();
  model.path = checkpoint.path();
  model.exact = true;
  for (const Tensor& tensor : checkpoint.tensors()) {
    model.tensors.push_back(planned(tensor));
  }
  return model;
}

PlannedModel plan_spec(std::string name, const ModelSpec& spec) {
  PlannedModel model;
  model.name = std::move(name);
  model.spec = spec;
  for (const ExpectedTensor& wanted : expected_tensors(spec)) {
    ModelTensor tensor{wanted.name, wanted.rows, wanted.cols, "", 0, false};
    store_as(tensor, WeightFormat{});
    model.tensors.push_back(std::move(tensor));
  }
  return model;
}

PlannedModel quantized(const PlannedModel& model, const WeightFormat& format) {
  const auto layers = static_cast<int>(model.spec.layers.size());
  check_matrix_parts(format.eight_bit, layers);
  PlannedModel out = model;
  for (ModelTensor& tensor : out.tensors) {
    const bool whole = tensor.cols % format.group_size == 0;
    // Norms and biases are one row; like the loader, rows that don't divide
    // into groups stay.
    const bool vector = tensor.rows == 1 || tensor.name.ends_with(".bias");
    if (tensor.quantized || vector || (is_affine(format) && !whole)) {
      continue;
    }
    WeightFormat own = format;
    if (belongs_to_parts(tensor.name, layers, format.eight_bit)) {
      own.bits = 8;
    }
    store_as(tensor, own);
    out.exact = false;
  }
  return out;
}

}  // namespace roofline
