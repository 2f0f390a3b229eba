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
#include "roofline/weights/convert/tokenizer_to_gguf.h"
#include "roofline/weights/encodings.h"
#include "roofline/weights/expert_tensors.h"
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

/// Our tensors that make one of the file's, row after row.
class SourceRows {
 public:
  SourceRows(
      const Checkpoint& checkpoint,
      const GgufSource& source,
      const WeightChanges* changes)
      : source_(source), changes_(changes) {
    for (const std::string& name : source.ours) {
      add_parts(checkpoint, name);
    }
    for (const Tensor* part : parts_) {
      cols_ = part->cols;
      rows_ += part->rows;
    }
    if (in_turns()) {
      (is_bias() ? cols_ : rows_) /= 2;
    }
    // Vectors are joined end to end.
    if (source.experts == 0 &&
        rows_ == static_cast<std::int64_t>(parts_.size())) {
      vector_ = parts_.front()->rows == 1;
    }
    if (vector_) {
      cols_ = 0;
      for (const Tensor* part : parts_) {
        cols_ += part->cols;
      }
      rows_ = 1;
    }
  }

  bool is_vector() const { return vector_; }
  std::int64_t rows() const { return rows_; }
  std::int64_t cols() const { return cols_; }
  bool is_router() const {
    return source_.name.find("ffn_gate_inp") != std::string::npos;
  }
  bool is_bias() const { return source_.name.ends_with(".bias"); }
  /// Cols first.
  std::vector<std::int64_t> shape() const {
    if (vector_) {
      return {cols_};
    }
    if (source_.experts == 0 || is_bias()) {
      return {cols_, rows_};
    }
    return {cols_, rows_ / source_.experts, source_.experts};
  }
  /// Four-bit floats of experts whose codes the file can hold as they are.
  bool has_blocks() const {
    return std::all_of(parts_.begin(), parts_.end(), [&](const Tensor* part) {
      const bool changed =
          changes_ != nullptr && changes_->contains(part->name);
      return part->encoding == Encoding::mlx_mxfp4 &&
             part->affine.factor == 1 && !changed;
    });
  }

  /// A row of these as GGML's mxfp4: a scale and 16 bytes for 32 values, the
  /// first 16 in the low bits. MLX has values in pairs.
  void read_blocks(std::int64_t row, std::span<std::byte> out) const {
    constexpr std::size_t kHalf = 16;
    const auto [part, inner] = find(source_row(row));
    const Tensor one = row_slice(*part, inner, 1);
    const auto code = [&](std::size_t at) {
      const auto pair = std::to_integer<unsigned>(one.bytes[at / 2]);
      return at % 2 == 0 ? pair & 15 : pair >> 4;
    };
    for (std::size_t group = 0; group < one.affine.scales.size(); ++group) {
      std::byte* block = out.data() + group * (kHalf + 1);
      block[0] = one.affine.scales[group];
      for (std::size_t i = 0; i < kHalf; ++i) {
        const std::size_t first = group * 2 * kHalf + i;
        block[i + 1] =
            static_cast<std::byte>(code(first) | code(first + kHalf) << 4);
      }
    }
  }

  void read(std::int64_t row, std::span<float> out) const {
    if (vector_) {
      read_vector(out);
    } else if (in_turns() && is_bias()) {
      read_every_second(row, out);
    } else {
      const auto [part, inner] = find(source_row(row));
      decode(*part, inner, out);
    }
    if (source_.change == GgufChange::add_one) {
      for (float& value : out) {
        value += 1;
      }
    }
  }

  void release(const Checkpoint& checkpoint) const {
    for (const Tensor* part : parts_) {
      checkpoint.release(*part);
    }
  }

 private:
  /// A stack of experts, or each in its own tensor.
  void add_parts(const Checkpoint& checkpoint, const std::string& name) {
    if (source_.experts == 0 || checkpoint.find(name) != nullptr) {
      parts_.push_back(&checkpoint.at(name));
      return;
    }
    const ExpectedTensor stack{name, 0, 0, false, source_.experts};
    for (int i = 0; i < source_.experts; ++i) {
      parts_.push_back(&checkpoint.at(stack.piece(i)));
    }
  }

  bool in_turns() const {
    return source_.change == GgufChange::even_rows ||
           source_.change == GgufChange::odd_rows;
  }
  std::int64_t first_in_turns() const {
    return source_.change == GgufChange::odd_rows ? 1 : 0;
  }

  void read_every_second(std::int64_t row, std::span<float> out) const {
    const auto [part, inner] = find(row);
    std::vector<float> all(static_cast<std::size_t>(part->cols));
    decode_row(*part, inner, all);
    for (std::size_t i = 0; i < out.size(); ++i) {
      out[i] = all[2 * i + static_cast<std::size_t>(first_in_turns())];
    }
  }

  /// The place of ours that goes to place `row` of the file's: pair i of a
  /// head is at i and i + half here, at 2i and 2i + 1 there.
  std::int64_t source_row(std::int64_t row) const {
    if (in_turns()) {
      return 2 * row + first_in_turns();
    }
    if (source_.change != GgufChange::turn_heads) {
      return row;
    }
    const std::int64_t all = vector_ ? cols_ : rows_;
    const std::int64_t head_dim = all / source_.heads;
    const std::int64_t within = row % head_dim;
    return row - within + within % 2 * (head_dim / 2) + within / 2;
  }

  std::pair<const Tensor*, std::int64_t> find(std::int64_t row) const {
    for (const Tensor* part : parts_) {
      if (row < part->rows) {
        return {part, row};
      }
      row -= part->rows;
    }
    fail<BugError>("convert: a row is out of range", source_.name, "");
  }

  void read_vector(std::span<float> out) const {
    std::vector<float> values(out.size());
    std::size_t at = 0;
    for (const Tensor* part : parts_) {
      const auto count = static_cast<std::size_t>(part->cols);
      decode(*part, 0, std::span(values).subspan(at, count));
      at += count;
    }
    for (std::size_t i = 0; i < out.size(); ++i) {
      out[i] = values[static_cast<std::size_t>(
          source_row(static_cast<std::int64_t>(i)))];
    }
  }

  void decode(const Tensor& part, std::int64_t row, std::span<float> out)
      const {
    decode_row(part, row, out);
    if (changes_ == nullptr) {
      return;
    }
    if (const auto found = changes_->find(part.name);
        found != changes_->end()) {
      found->second(row, out);
    }
  }

  const GgufSource& source_;
  const WeightChanges* changes_;
  std::vector<const Tensor*> parts_;
  std::int64_t rows_ = 0;
  std::int64_t cols_ = 0;
  bool vector_ = false;
};

bool fits(Encoding encoding, std::int64_t cols) {
  return row_bytes(encoding, cols).has_value();
}

Encoding encoding_for(
    const SourceRows& rows,
    Encoding wanted,
    bool gives_logits) {
  if (rows.is_vector() || rows.is_bias() || rows.is_router()) {
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
  SourceRows rows;
  PlannedGgufTensor planned;
};

void write_tensor(GgufWriter& writer, const PlannedRows& tensor) {
  const SourceRows& rows = tensor.rows;
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
    SourceRows rows(checkpoint, source, options.changes);
    const bool tied = checkpoint.spec().tied_embeddings;
    const bool gives_logits =
        source.name == (tied ? "token_embd.weight" : "output.weight");
    const Encoding own = encoding_for(rows, options.encoding, gives_logits);
    auto shape = rows.shape();
    out.push_back({std::move(rows), {source.name, own, std::move(shape)}});
  }
  return out;
}

/// What GGUF has of the model in other forms (factors of the metadata) or not
/// at all can't be changed.
void require_places(const WeightChanges* changes, const GgufModel& model) {
  if (changes == nullptr) {
    return;
  }
  std::set<std::string_view> held;
  for (const GgufSource& source : model.tensors) {
    held.insert(source.ours.begin(), source.ours.end());
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
      checkpoint->spec(),
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
  for (const auto& [name, values] : model.factors) {
    plan.push_back(
        {name, Encoding::f32, {static_cast<std::int64_t>(values.size())}});
  }
  for (const PlannedRows& tensor : tensors) {
    plan.push_back(tensor.planned);
    out.bytes += tensor.planned.bytes();
    out.parameters += tensor.rows.rows() * tensor.rows.cols();
  }
  AtomicFile file = open_gguf_target(target);
  GgufWriter writer(file.fd(), target.string(), model.metadata, plan);
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
