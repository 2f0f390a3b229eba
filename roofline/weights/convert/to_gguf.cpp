#include "roofline/weights/convert/to_gguf.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <memory>
#include <system_error>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "roofline/base/atomic_file.h"
#include "roofline/base/errors.h"
#include "roofline/base/nearest.h"
#include "roofline/base/thread_pool.h"
#include "roofline/weights/checkpoint.h"
#include "roofline/weights/convert/ggml_quantize.h"
#include "roofline/weights/convert/gguf_model.h"
#include "roofline/weights/convert/gguf_writer.h"
#include "roofline/weights/convert/tokenizer_to_gguf.h"
#include "roofline/weights/encodings.h"
#include "roofline/weights/json_file.h"

namespace roofline {

namespace fs = std::filesystem;

namespace {

/// Elements that are encoded before they are written: 16 MB of float32.
constexpr std::int64_t kPieceElements = std::int64_t{4} << 20;

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
  SourceRows(const Checkpoint& checkpoint, const GgufSource& source)
      : source_(source) {
    for (const std::string& name : source.ours) {
      parts_.push_back(&checkpoint.at(name));
      const Tensor& part = *parts_.back();
      cols_ = part.cols;
      rows_ += part.rows;
    }
    // Vectors are joined end to end.
    if (rows_ == static_cast<std::int64_t>(parts_.size())) {
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

  void read(std::int64_t row, std::span<float> out) const {
    if (vector_) {
      read_vector(out);
    } else {
      const auto [part, inner] = find(source_row(row));
      decode_row(*part, inner, out);
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
  /// The place of ours that goes to place `row` of the file's: pair i of a
  /// head is at i and i + half here, at 2i and 2i + 1 there.
  std::int64_t source_row(std::int64_t row) const {
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
      decode_row(*part, 0, std::span(values).subspan(at, count));
      at += count;
    }
    for (std::size_t i = 0; i < out.size(); ++i) {
      out[i] = values[static_cast<std::size_t>(
          source_row(static_cast<std::int64_t>(i)))];
    }
  }

  const GgufSource& source_;
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
  if (rows.is_vector()) {
    return Encoding::f32;
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

void write_tensor(
    GgufWriter& writer,
    const PlannedRows& tensor,
    ThreadPool& pool) {
  const SourceRows& rows = tensor.rows;
  const std::size_t row_size = static_cast<std::size_t>(
      row_bytes(tensor.planned.encoding, rows.cols()).value());
  const std::int64_t step =
      std::max<std::int64_t>(1, kPieceElements / rows.cols());
  std::vector<std::byte> bytes;
  for (std::int64_t first = 0; first < rows.rows(); first += step) {
    const std::int64_t count = std::min(step, rows.rows() - first);
    bytes.resize(row_size * static_cast<std::size_t>(count));
    auto encode = [&](int row, int) {
      std::vector<float> values(static_cast<std::size_t>(rows.cols()));
      rows.read(first + row, values);
      encode_row(
          tensor.planned.encoding,
          values,
          std::span(bytes).subspan(
              row_size * static_cast<std::size_t>(row),
              row_size));
    };
    pool.run(static_cast<int>(count), encode);
    writer.put(
        tensor.planned.name,
        bytes,
        row_size * static_cast<std::size_t>(first));
  }
}

void check_target(const fs::path& target, bool force) {
  std::error_code error;
  if (fs::is_directory(target, error)) {
    fail<UserError>(
        target.string() + " is a folder",
        "A GGUF file is to be written",
        "Name a file, such as " + (target / "model.gguf").string());
  }
  if (!force && fs::exists(target, error)) {
    fail<UserError>(
        target.string() + " exists already",
        "Nothing is overwritten unasked",
        "Choose another name, or add --force to replace it");
  }
}

void publish(AtomicFile& file, const fs::path& target) {
  const mode_t mask = ::umask(0);
  ::umask(mask);
  ::fchmod(file.fd(), 0666 & ~mask);
  if (!file.publish()) {
    fail<UserError>(
        "Can't write " + target.string(),
        file.error(),
        "Check that the folder can be written");
  }
}

std::vector<PlannedRows> plan_rows(
    const Checkpoint& checkpoint,
    const GgufModel& model,
    Encoding encoding) {
  std::vector<PlannedRows> out;
  for (const GgufSource& source : model.tensors) {
    SourceRows rows(checkpoint, source);
    const bool tied = checkpoint.spec().tied_embeddings;
    const bool gives_logits =
        source.name == (tied ? "token_embd.weight" : "output.weight");
    const Encoding own = encoding_for(rows, encoding, gives_logits);
    std::vector<std::int64_t> shape = {rows.cols()};
    if (!rows.is_vector()) {
      shape.push_back(rows.rows());
    }
    out.push_back({std::move(rows), {source.name, own, std::move(shape)}});
  }
  return out;
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
  check_target(target, options.force);
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
  model.metadata.emplace_back(
      "general.file_type",
      file_type_of(options.encoding));
  model.metadata.emplace_back("general.quantization_version", 2u);
  for (auto& entry : gguf_vocabulary_of(source, checkpoint->spec().vocab)) {
    model.metadata.push_back(std::move(entry));
  }
  const auto tensors = plan_rows(*checkpoint, model, options.encoding);
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
  AtomicFile file(target);
  if (!file.is_open()) {
    fail<UserError>(
        "Can't write " + target.string(),
        file.error(),
        "Check that the folder can be written");
  }
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
    write_tensor(writer, tensor, ThreadPool::global());
    tensor.rows.release(*checkpoint);
    done += tensor.rows.rows() * tensor.rows.cols();
  }
  writer.finish();
  publish(file, target);
  out.shards = 1;
  return out;
}

}  // namespace roofline
