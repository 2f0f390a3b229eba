#include "roofline/weights/convert/to_gguf.h"

#include <algorithm>
#include <array>
#include <memory>
#include <set>
#include <system_error>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "roofline/base/errors.h"
#include "roofline/base/nearest.h"
#include "roofline/spec/tensor_names.h"
#include "roofline/weights/checkpoint.h"
#include "roofline/weights/convert/gguf_model.h"
#include "roofline/weights/convert/gguf_output.h"
#include "roofline/weights/convert/gguf_rows.h"
#include "roofline/weights/convert/tokenizer_to_gguf.h"
#include "roofline/weights/encodings.h"
#include "roofline/weights/json_file.h"

namespace roofline {

namespace fs = std::filesystem;

namespace {

struct FileType {
  std::string_view name;
  Encoding encoding;
  std::uint32_t number;  ///< "general.file_type", as llama.cpp numbers them
};
constexpr std::array<FileType, 7> kTypes = {{
    {"f32", Encoding::f32, 0},
    {"f16", Encoding::f16, 1},
    {"bf16", Encoding::bf16, 32},
    {"q8_0", Encoding::q8_0, 7},
    {"q4_0", Encoding::q4_0, 2},
    {"q4_1", Encoding::q4_1, 3},
    {"q4_k", Encoding::q4_k, 15},
}};

/// The number of files whose experts are mxfp4.
constexpr std::uint32_t kExpertBlocks = 38;

std::uint32_t file_type_of(Encoding encoding) {
  for (const FileType& type : kTypes) {
    if (type.encoding == encoding) {
      return type.number;
    }
  }
  return 0;
}

bool fits(Encoding encoding, std::int64_t cols) {
  return row_bytes(encoding, cols).has_value();
}

/// Small matrices that llama.cpp's operations take as float32 only, or that its
/// own files have so.
bool is_always_float32(std::string_view name) {
  constexpr std::array<std::string_view, 6> kParts = {
      "ffn_gate_inp",
      "position_embd",
      "ssm_conv1d",
      "shortconv.conv",
      "altup_correct_coef",
      "altup_predict_coef"};
  return std::any_of(kParts.begin(), kParts.end(), [&](std::string_view part) {
    return name.find(part) != std::string_view::npos;
  });
}

Encoding encoding_for(
    const GgufRows& rows,
    std::string_view name,
    Encoding wanted,
    bool gives_logits) {
  if (rows.is_vector() || rows.is_bias() || is_always_float32(name)) {
    return Encoding::f32;
  }
  if (rows.has_blocks() && !is_float(wanted)) {
    return Encoding::mxfp4;
  }
  if (wanted == Encoding::q4_k) {
    if (gives_logits && fits(Encoding::q8_0, rows.cols())) {
      return Encoding::q8_0;
    }
    wanted = fits(wanted, rows.cols()) ? wanted : Encoding::q5_0;
  }
  return fits(wanted, rows.cols()) ? wanted : Encoding::f16;
}

struct PlannedRows {
  GgufRows rows;
  PlannedGgufTensor planned;
};

void write_tensor(GgufWriter& writer, const PlannedRows& tensor) {
  const GgufRows& rows = tensor.rows;
  if (tensor.planned.encoding == Encoding::mxfp4) {
    write_gguf_blocks(
        writer,
        tensor.planned,
        rows.rows(),
        rows.cols(),
        [&](std::int64_t row, std::span<std::byte> out) {
          rows.read_blocks(row, out);
        });
    return;
  }
  write_gguf_rows(
      writer,
      tensor.planned,
      rows.rows(),
      rows.cols(),
      [&](std::int64_t row, std::span<float> out) { rows.read(row, out); });
}

std::vector<PlannedRows> plan_rows(
    const Checkpoint& checkpoint,
    const GgufModel& model,
    const ToGgufOptions& options) {
  std::vector<PlannedRows> out;
  for (const GgufSource& source : model.tensors) {
    GgufRows rows(checkpoint, source, options.changes);
    const bool tied = checkpoint.spec().tied_embeddings;
    const bool gives_logits =
        source.name == (tied ? "token_embd.weight" : "output.weight");
    const Encoding own =
        encoding_for(rows, source.name, options.encoding, gives_logits);
    auto shape = rows.shape();
    out.push_back({std::move(rows), {source.name, own, std::move(shape)}});
  }
  return out;
}

/// The spec with the scalars of activations that folders have as tensors and
/// GGUF has as metadata.
ModelSpec with_known_xielu(const Checkpoint& checkpoint) {
  ModelSpec spec = checkpoint.spec();
  for (std::size_t i = 0; i < spec.layers.size(); ++i) {
    auto& feed_forward = spec.layers[i].feed_forward;
    if (!feed_forward || feed_forward->activation != Activation::xielu ||
        feed_forward->xielu) {
      continue;
    }
    Xielu xielu;
    const auto read = [&](const char* name, float& out) {
      const Tensor* tensor = checkpoint.find(
          fmt::format("layers.{}.feed_forward.xielu.{}", i, name));
      if (tensor != nullptr) {
        decode_row(*tensor, 0, {&out, 1});
      }
    };
    read("alpha_p", xielu.alpha_p);
    read("alpha_n", xielu.alpha_n);
    read("beta", xielu.beta);
    read("eps", xielu.eps);
    feed_forward->xielu = xielu;
  }
  return spec;
}

/// What GGUF has of the model in other forms (factors of the metadata) or not
/// at all can't be changed.
void require_places(const WeightChanges* changes, const GgufModel& model) {
  if (changes == nullptr) {
    return;
  }
  std::set<std::string> held;
  for (const GgufSource& source : model.tensors) {
    held.insert(source.ours.begin(), source.ours.end());
    for (const std::string& name : source.ours) {
      const ExpectedTensor experts{name, 0, 0, false, source.experts};
      for (int i = 0; i < source.experts; ++i) {
        held.insert(experts.piece(i));
      }
    }
  }
  for (const auto& [name, change] : *changes) {
    if (!held.contains(name)) {
      refuse_change(name);
    }
  }
}

}  // namespace

Encoding parse_gguf_type(std::string_view text, std::string_view option) {
  std::vector<std::string> names;
  for (const FileType& type : kTypes) {
    if (type.name == text) {
      return type.encoding;
    }
    names.emplace_back(type.name);
  }
  fail<UserError>(
      fmt::format("{}: there is no type \"{}\"", option, text),
      did_you_mean(text, names),
      fmt::format("There are {}", fmt::join(names, ", ")));
}

ConvertedModel convert_to_gguf(
    const fs::path& source,
    const fs::path& target,
    const ToGgufOptions& options) {
  require_gguf_target(target, options.force);
  std::error_code error;
  if (!fs::is_regular_file(source / "config.json", error)) {
    fail<UnsupportedError>(
        fmt::format("Can't write {} as GGUF", source.string()),
        "GGUF is written from a folder with a config.json",
        "To change a GGUF file's type, use llama-quantize");
  }
  const auto checkpoint = Checkpoint::open(source);
  GgufModel model = describe_gguf_model(
      with_known_xielu(*checkpoint),
      read_json_file(source / "config.json"));
  model.metadata.emplace_back(
      "general.name",
      options.name.empty() ? source.filename().string() : options.name);
  model.metadata.emplace_back("general.quantization_version", 2u);
  for (auto& entry : gguf_vocabulary_of(source, checkpoint->spec().vocab)) {
    model.metadata.push_back(std::move(entry));
  }
  require_places(options.changes, model);
  const auto tensors = plan_rows(*checkpoint, model, options);
  const bool blocks =
      std::any_of(tensors.begin(), tensors.end(), [](const PlannedRows& rows) {
        return rows.planned.encoding == Encoding::mxfp4;
      });
  model.metadata.emplace_back(
      "general.file_type",
      blocks ? kExpertBlocks : file_type_of(options.encoding));
  std::vector<PlannedGgufTensor> plan;
  ConvertedModel out;
  out.warning = model.warning;
  for (const auto& [name, values] : model.factors) {
    plan.push_back(
        {name, Encoding::f32, {static_cast<std::int64_t>(values.size())}});
  }
  for (const PlannedRows& tensor : tensors) {
    plan.push_back(tensor.planned);
    out.bytes += tensor.planned.bytes();
    out.parameters += tensor.rows.rows() * tensor.rows.cols();
  }
  std::vector<PlannedGgufTensor> zeros;
  for (const auto& [name, shape] : model.zeros) {
    const Encoding encoding =
        fits(options.encoding, shape[0]) ? options.encoding : Encoding::f16;
    zeros.push_back({name, encoding, shape});
    plan.push_back(zeros.back());
    out.bytes += zeros.back().bytes();
  }
  AtomicFile file = open_gguf_target(target);
  GgufWriter writer(file.fd(), target.string(), model.metadata, plan);
  for (const PlannedGgufTensor& zero : zeros) {
    // In every type, bytes of zero are values of zero.
    writer.put(zero.name, std::vector<std::byte>(zero.bytes()));
  }
  for (const auto& [name, values] : model.factors) {
    writer.put(name, std::as_bytes(std::span(values)));
  }
  std::int64_t done = 0;
  for (const PlannedRows& tensor : tensors) {
    if (options.progress) {
      options.progress(
          static_cast<double>(done) / static_cast<double>(out.parameters),
          tensor.planned.name);
    }
    write_tensor(writer, tensor);
    tensor.rows.release(*checkpoint);
    done += tensor.rows.rows() * tensor.rows.cols();
  }
  writer.finish();
  publish_gguf(file, target);
  out.shards = 1;
  return out;
}

}  // namespace roofline
