#include "roofline/weights/convert/to_mlx.h"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/spec/read_config.h"
#include "roofline/weights/convert/hf_source.h"
#include "roofline/weights/convert/mlx_config.h"
#include "roofline/weights/convert/mlx_layout.h"
#include "roofline/weights/convert/mlx_lm.h"
#include "roofline/weights/convert/mlx_source.h"
#include "roofline/weights/convert/model_card.h"
#include "roofline/weights/convert/write_rows.h"
#include "roofline/weights/save_arrays.h"
#include "roofline/weights/shards.h"

namespace roofline {

namespace fs = std::filesystem;
namespace mx = mlx::core;
using nlohmann::json;

namespace {

struct DtypeName {
  std::string_view long_name;
  std::string_view short_name;
  mx::Dtype dtype;
};
const std::array<DtypeName, 3> kDtypes = {{
    {"bfloat16", "bf16", mx::bfloat16},
    {"float16", "f16", mx::float16},
    {"float32", "f32", mx::float32},
}};

std::optional<mx::Dtype> dtype_in(const json& config) {
  const auto found = config.find("torch_dtype");
  if (found == config.end() || !found->is_string()) {
    return std::nullopt;
  }
  for (const DtypeName& known : kDtypes) {
    if (known.long_name == found->get<std::string>()) {
      return known.dtype;
    }
  }
  return std::nullopt;
}

void check_options(const HfSource& source, const ToMlxOptions& options) {
  if (options.quantize && options.dequantize) {
    fail<UserError>(
        "--quantize and --dequantize exclude each other",
        "",
        "Choose one of them");
  }
  if (source.packed && options.quantize) {
    fail<UserError>(
        "The weights are quantized already",
        "Quantizing them again would add to what the first time lost",
        "Take the unquantized weights, or unpack these first with "
        "--dequantize");
  }
  if (source.packed && options.dtype && !options.dequantize) {
    fail<UserError>(
        "--dtype can't change packed weights",
        "Their scales belong to their codes",
        "Add --dequantize, or leave --dtype out");
  }
  if (!source.without_form.empty() && !options.quantize &&
      !options.dequantize) {
    fail<UserError>(
        "The weights can't stay as they are",
        source.without_form + ", and MLX's layout has no such form",
        "Add -q to quantize them, or --dequantize for floats");
  }
}

/// Codes of other programs' that MLX's layout has as well stay, unless floats
/// are asked for.
bool stays_packed(const RowTensor& tensor, const ToMlxOptions& options) {
  return !options.dequantize && tensor.packed() != nullptr;
}

/// config.json's "quantization": the form that -q asks for, else the one that
/// most of what stays packed has, and an entry for each other module.
json quantization_entry(
    const std::vector<RowTensor>& tensors,
    const std::optional<MlxQuantizer>& quantizer,
    const ToMlxOptions& options) {
  constexpr std::string_view kWeight = ".weight";
  json out = quantizer ? quantizer->entry(tensors) : json();
  std::vector<std::pair<MlxForm, int>> counts;
  for (const RowTensor& tensor : tensors) {
    if (!stays_packed(tensor, options)) {
      continue;
    }
    const MlxForm& form = tensor.packed()->form;
    const auto found =
        std::find_if(counts.begin(), counts.end(), [&](const auto& each) {
          return each.first == form;
        });
    if (found == counts.end()) {
      counts.emplace_back(form, 1);
    } else {
      ++found->second;
    }
  }
  if (counts.empty()) {
    return out;
  }
  const auto most = std::max_element(
      counts.begin(),
      counts.end(),
      [](const auto& a, const auto& b) { return a.second < b.second; });
  if (out.is_null()) {
    out = json_of(most->first);
  }
  for (const RowTensor& tensor : tensors) {
    if (stays_packed(tensor, options) &&
        (quantizer || tensor.packed()->form != most->first)) {
      const std::string& name = tensor.name;
      out[name.substr(0, name.size() - kWeight.size())] =
          json_of(tensor.packed()->form);
    }
  }
  return out;
}

/// Writes config.json, and what goes beside the weights. Returns what mlx-lm
/// makes of it otherwise.
std::string write_beside(
    CheckpointWriter& writer,
    const HfSource& source,
    const json& config,
    const fs::path& from,
    const ToMlxOptions& options) {
  const json written = mlx_config(config);
  writer.write_text("config.json", written.dump(4) + "\n");
  write_files_beside(
      writer,
      source,
      model_card(from, options.base_model, "mlx"));
  ModelSpec spec = read_config(written);
  spec.tied_embeddings = source.tied;
  return unlike_in_mlx_lm(spec, written);
}

/// Packed weights keep their bytes.
ConvertedModel copy_packed(
    const HfSource& source,
    const fs::path& from,
    const fs::path& target,
    const ToMlxOptions& options) {
  const Shards shards(from);
  CheckpointWriter writer(target, options.save);
  std::vector<PlannedTensor> plan;
  ConvertedModel out;
  for (const SafetensorsEntry* entry : shards.entries()) {
    plan.push_back({entry->name, entry->dtype, entry->shape});
    out.bytes += entry->bytes.size();
  }
  for (const RowTensor& tensor : source.tensors) {
    out.parameters += tensor.elements();
  }
  writer.plan(plan, out.parameters);
  out.shards = writer.shards();
  std::uint64_t done = 0;
  for (const SafetensorsEntry* entry : shards.entries()) {
    if (options.progress) {
      options.progress(
          static_cast<double>(done) / static_cast<double>(out.bytes),
          entry->name);
    }
    writer.put(entry->name, entry->bytes);
    done += entry->bytes.size();
  }
  out.warning = write_beside(writer, source, source.config, from, options);
  writer.publish();
  return out;
}

std::vector<RowJob> make_jobs(
    const std::vector<RowTensor>& tensors,
    const std::optional<MlxQuantizer>& quantizer,
    const std::optional<mx::Dtype>& dtype,
    const ToMlxOptions& options) {
  std::vector<RowJob> jobs;
  for (const RowTensor& tensor : tensors) {
    RowJob job{
        &tensor,
        tensor.source_dtype.value_or(tensor.dtype),
        std::nullopt};
    if (dtype && !keeps_own_dtype(tensor.name)) {
      job.dtype = *dtype;
    }
    const auto choice =
        quantizer ? quantizer->choose(tensor) : std::optional<MlxChoice>();
    if (stays_packed(tensor, options)) {
      job.keep_packed = true;
    } else if (choice) {
      job.form = choice->form;
    }
    jobs.push_back(std::move(job));
  }
  return jobs;
}

void require_packed(
    const std::vector<RowJob>& jobs,
    const ToMlxOptions& options) {
  const bool any = std::any_of(jobs.begin(), jobs.end(), [](const RowJob& job) {
    return job.form || job.keep_packed;
  });
  if (options.quantize && !any) {
    fail<UserError>(
        "Nothing can be quantized",
        fmt::format(
            "No matrix has columns that are a multiple of the group size, {}",
            options.quantize->group_size),
        "Choose a smaller --q-group-size, or leave -q out");
  }
}

/// Norms lie near one in this layout, where small types have few values.
void add_rounded_ones(const std::vector<RowJob>& jobs, std::string& warning) {
  const auto norm =
      std::find_if(jobs.begin(), jobs.end(), [](const RowJob& job) {
        return job.tensor->name.ends_with("_layernorm.weight");
      });
  if (norm == jobs.end() || norm->dtype == mx::float32) {
    return;
  }
  warning += fmt::format(
      "{}MLX's layout has norms as 1 + w, which rounds them to {} bits; "
      "--dtype float32 keeps them whole",
      warning.empty() ? "" : ". ",
      norm->dtype == mx::bfloat16 ? 8 : 11);
}

}  // namespace

ConvertedModel convert_to_mlx(
    const fs::path& given,
    const fs::path& target,
    const ToMlxOptions& options) {
  require_replaceable(target, options.save.force);
  const fs::path from = model_file(given);
  require_apart(from, target);
  HfSource source = options.changes ? hf_gguf_source(from, options.changes)
                                    : open_hf_source(from);
  check_options(source, options);
  if (source.packed && !options.dequantize) {
    return copy_packed(source, from, target, options);
  }
  const bool adds_ones = mlx_layout_adds_ones(source.tensors, source.config);
  const std::vector<RowTensor> tensors =
      to_mlx_layout(std::move(source.tensors), source.config, source.tied);
  std::optional<MlxQuantizer> quantizer;
  json config = source.config;
  config.erase("quantization");
  config.erase("quantization_config");
  if (options.quantize) {
    quantizer.emplace(*options.quantize, options.recipe, config);
  }
  const json entry = quantization_entry(tensors, quantizer, options);
  if (!entry.is_null()) {
    config["quantization"] = entry;
    config["quantization_config"] = entry;
  }
  const auto dtype = options.dtype ? options.dtype : dtype_in(config);
  if (options.dtype) {
    for (const DtypeName& known : kDtypes) {
      if (known.dtype == *options.dtype) {
        config["torch_dtype"] = known.long_name;
        config.erase("dtype");
      }
    }
  }
  const std::vector<RowJob> jobs =
      make_jobs(tensors, quantizer, dtype, options);
  require_packed(jobs, options);
  CheckpointWriter writer(target, options.save);
  std::vector<PlannedTensor> plan;
  ConvertedModel out;
  for (const RowJob& job : jobs) {
    for (PlannedTensor& tensor : job.plan()) {
      out.bytes += tensor.bytes();
      plan.push_back(std::move(tensor));
    }
    out.parameters += job.tensor->elements();
  }
  writer.plan(plan, out.parameters);
  out.shards = writer.shards();
  write_rows(writer, jobs, options.progress);
  out.warning = write_beside(writer, source, config, from, options);
  if (adds_ones) {
    add_rounded_ones(jobs, out.warning);
  }
  writer.publish();
  return out;
}

mx::Dtype parse_float_dtype(std::string_view text, std::string_view option) {
  for (const DtypeName& known : kDtypes) {
    if (text == known.long_name || text == known.short_name) {
      return known.dtype;
    }
  }
  fail<UserError>(
      fmt::format("{}: there is no dtype \"{}\"", option, text),
      "",
      "There are bfloat16 (bf16), float16 (f16) and float32 (f32)");
}

}  // namespace roofline
