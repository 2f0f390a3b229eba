#include "roofline/quantize/mlx_writer.h"

#include <algorithm>

#include <fmt/format.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include "roofline/base/errors.h"
#include "roofline/base/thread_pool.h"
#include "roofline/weights/convert/mlx_source.h"
#include "roofline/weights/convert/model_card.h"

namespace roofline {

namespace fs = std::filesystem;
namespace mx = mlx::core;
using nlohmann::json;

namespace {

mx::Dtype mlx_dtype(Encoding dtype) {
  return dtype == Encoding::f32    ? mx::float32
         : dtype == Encoding::bf16 ? mx::bfloat16
                                   : mx::float16;
}

const char* dtype_text(Encoding dtype) {
  return dtype == Encoding::f32    ? "F32"
         : dtype == Encoding::bf16 ? "BF16"
                                   : "F16";
}

json format_json(const MatrixFormat& format) {
  return {
      {"group_size", format.group_size},
      {"bits", format.bits},
      {"mode", mode_name(format.mode)}};
}

/// Rows of heads in pairs, as rows in halves.
std::vector<std::byte> in_halves(
    std::span<const std::byte> bytes,
    std::size_t row_bytes,
    int heads) {
  std::vector<std::byte> out(bytes.size());
  const auto rows = static_cast<std::int64_t>(bytes.size() / row_bytes);
  for (std::int64_t row = 0; row < rows; ++row) {
    const auto from = static_cast<std::size_t>(paired_row(row, rows, heads));
    std::copy_n(
        bytes.begin() + static_cast<std::ptrdiff_t>(from * row_bytes),
        row_bytes,
        out.begin() + static_cast<std::ptrdiff_t>(
                          static_cast<std::size_t>(row) * row_bytes));
  }
  return out;
}

/// "….experts.3.gate_proj" → "….switch_mlp.gate_proj", which mlx-lm makes of
/// experts that lie one by one and whose format it looks for; "" for others.
std::string stacked_module(const std::string& module) {
  constexpr std::string_view kExperts = ".experts.";
  const auto at = module.find(kExperts);
  const auto number = at + kExperts.size();
  const auto end = at == module.npos ? at : module.find('.', number);
  if (end == module.npos || module[number] < '0' || module[number] > '9') {
    return "";
  }
  return module.substr(0, at) + ".switch_mlp" + module.substr(end);
}

/// The encoding, that of its values where a tensor lies turned.
Encoding float_type(const Tensor& tensor) {
  if (tensor.encoding != Encoding::turned) {
    return tensor.encoding;
  }
  switch (tensor.foreign.scale_type) {
    case Tensor::Foreign::Scale::f32:
      return Encoding::f32;
    case Tensor::Foreign::Scale::bf16:
      return Encoding::bf16;
    default:
      return Encoding::f16;
  }
}

}  // namespace

MlxWriter::MlxWriter(
    const Checkpoint& checkpoint,
    const MlxPlaces& places,
    const FormatPlan& plan,
    Encoding dtype,
    const fs::path& target,
    bool force)
    : checkpoint_(checkpoint),
      places_(places),
      plan_(plan),
      dtype_(dtype),
      writer_(target, {force}) {
  std::int64_t parameters = 0;
  for (const Tensor& tensor : checkpoint.tensors()) {
    parameters += tensor.rows * tensor.cols;
  }
  writer_.plan(planned(), parameters);
}

std::vector<RowJob> MlxWriter::float_jobs() const {
  std::vector<RowJob> jobs;
  for (const StoredTensor& stored : places_.stored()) {
    if (places_.format_of(stored, plan_).mode == QuantMode::keep) {
      const auto own = keeps_own_dtype(stored.tensor->name);
      jobs.push_back(
          {stored.tensor,
           own ? stored.tensor->dtype : mlx_dtype(dtype_),
           std::nullopt,
           stored.tensor->packed() != nullptr});
    }
  }
  return jobs;
}

std::vector<PlannedTensor> MlxWriter::planned() const {
  std::vector<PlannedTensor> out;
  for (const StoredTensor& stored : places_.stored()) {
    const MatrixFormat format = places_.format_of(stored, plan_);
    if (format.mode == QuantMode::keep) {
      continue;
    }
    auto words = stored.tensor->shape;
    auto groups = stored.tensor->shape;
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
  for (const RowJob& job : float_jobs()) {
    for (PlannedTensor& tensor : job.plan()) {
      out.push_back(std::move(tensor));
    }
  }
  return out;
}

void MlxWriter::put_rows(
    const std::string& tensor,
    std::span<const std::byte> bytes,
    std::size_t row_bytes,
    const StoredPlace& place,
    std::int64_t first_row) {
  std::vector<std::byte> turned;
  if (place.paired_heads > 0) {
    turned = in_halves(bytes, row_bytes, place.paired_heads);
    bytes = turned;
  }
  const NamedRows& rows = place.rows;
  if (rows.runs == 1) {
    const auto first = static_cast<std::size_t>(rows.row_begin + first_row);
    writer_.put(tensor, bytes, first * row_bytes);
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

bool MlxWriter::takes_pieces(const std::string& name) const {
  const StoredPlace* place = places_.find(name);
  return place != nullptr && place->paired_heads == 0 && place->rows.runs == 1;
}

void MlxWriter::put_codes(
    const std::string& name,
    const PackedCodes& codes,
    std::int64_t first_row) {
  const StoredPlace* place = places_.find(name);
  if (place == nullptr) {
    fail<BugError>(
        "quantize: no stored tensor holds " + name,
        "The plan wasn't settled",
        "Please report this");
  }
  const auto rows = static_cast<std::size_t>(codes.rows);
  const auto put = [&](const char* end, const std::vector<std::byte>& bytes) {
    put_rows(
        place->stored->module + end,
        bytes,
        bytes.size() / rows,
        *place,
        first_row);
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

/// The change is added to what is stored: that may be the checkpoint's values
/// shifted by one.
void MlxWriter::put_changed(
    const StoredTensor& stored,
    const FloatMatrix& values) {
  const auto before =
      read_matrix(checkpoint_.at(stored.parts[0].name), ThreadPool::global());
  const mx::Stream stream = mx::default_stream(mx::Device(mx::Device::cpu));
  const mx::Shape shape{values.rows, values.cols};
  const mx::array was(before.values.begin(), shape, mx::float32);
  const mx::array is(values.values.begin(), shape, mx::float32);
  const mx::array kept = mx::astype(
      stored.tensor->read(0, stored.tensor->rows(), stream),
      mx::float32,
      stream);
  mx::array out = mx::contiguous(
      mx::astype(
          mx::add(is, mx::subtract(kept, was, stream), stream),
          mlx_dtype(dtype_),
          stream),
      false,
      stream);
  mx::eval(out);
  writer_.put(
      stored.tensor->name,
      {reinterpret_cast<const std::byte*>(out.data<char>()), out.nbytes()});
}

void MlxWriter::write_floats() {
  std::vector<RowJob> jobs = float_jobs();
  for (const auto& [name, values] : changed_) {
    const StoredPlace* place = places_.find(name);
    put_changed(*place->stored, values);
    std::erase_if(jobs, [&](const RowJob& job) {
      return job.tensor == place->stored->tensor;
    });
  }
  write_rows(writer_, jobs, {});
}

/// The source's, with the format that most matrices have, and an entry for
/// each that has another.
std::string MlxWriter::config_text() const {
  json config = places_.source().config;
  std::vector<std::pair<MatrixFormat, int>> counts;
  for (const StoredTensor& stored : places_.stored()) {
    const MatrixFormat format = places_.stored_format(stored, plan_);
    if (format.mode == QuantMode::keep) {
      continue;
    }
    const auto found =
        std::find_if(counts.begin(), counts.end(), [&](const auto& each) {
          return each.first == format;
        });
    if (found == counts.end()) {
      counts.emplace_back(format, 1);
    } else {
      ++found->second;
    }
  }
  if (counts.empty()) {
    return mlx_config_text(std::move(config));
  }
  const auto most = std::max_element(
      counts.begin(),
      counts.end(),
      [](const auto& a, const auto& b) { return a.second < b.second; });
  json quantization = format_json(most->first);
  for (const StoredTensor& stored : places_.stored()) {
    const MatrixFormat format = places_.stored_format(stored, plan_);
    if (format.mode != QuantMode::keep && format != most->first) {
      quantization[stored.module] = format_json(format);
      if (const auto stack = stacked_module(stored.module); !stack.empty()) {
        quantization[stack] = format_json(format);
      }
    }
  }
  config["quantization"] = quantization;
  config["quantization_config"] = quantization;
  config["torch_dtype"] = dtype_ == Encoding::f32    ? "float32"
                          : dtype_ == Encoding::bf16 ? "bfloat16"
                                                     : "float16";
  config.erase("dtype");
  return mlx_config_text(std::move(config));
}

void MlxWriter::publish(const std::string& summary) {
  write_floats();
  writer_.write_text("config.json", config_text());
  write_files_beside(
      writer_,
      places_.source(),
      model_card(checkpoint_.path(), "", "mlx") + "# " +
          checkpoint_.path().stem().string() + "\n" + summary + "\n");
  writer_.publish();
}

Encoding default_dtype(const Checkpoint& checkpoint) {
  std::map<Encoding, std::size_t> bytes;
  for (const Tensor& tensor : checkpoint.tensors()) {
    bytes[float_type(tensor)] += tensor.total_bytes();
  }
  const auto most = std::max_element(
      bytes.begin(),
      bytes.end(),
      [](const auto& a, const auto& b) { return a.second < b.second; });
  if (most != bytes.end() &&
      (most->first == Encoding::f16 || most->first == Encoding::bf16)) {
    return most->first;
  }
  // What is beside other programs' codes was trained in bf16 as a rule.
  if (most != bytes.end() && most->first != Encoding::f32 &&
      bytes[Encoding::bf16] > 0) {
    return Encoding::bf16;
  }
  return checkpoint.spec().embedding_scale != 1.0f ? Encoding::bf16
                                                   : Encoding::f16;
}

}  // namespace roofline
