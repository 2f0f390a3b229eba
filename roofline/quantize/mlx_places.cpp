#include "roofline/quantize/mlx_places.h"

#include <algorithm>
#include <string_view>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/quantize/calibrate.h"
#include "roofline/spec/families.h"
#include "roofline/spec/mixture_names.h"
#include "roofline/spec/read_config.h"
#include "roofline/weights/convert/gguf_tensor_source.h"
#include "roofline/weights/convert/mlx_layout.h"
#include "roofline/weights/convert/mlx_layouts.h"
#include "roofline/weights/convert/mlx_source.h"
#include "roofline/weights/name_tensors.h"

namespace roofline {

namespace {

constexpr std::string_view kLayers = "layers.";
const MatrixFormat kKeep{QuantMode::keep, 16, 1};

HfSource open_floats(const Checkpoint& checkpoint) {
  HfSource source = open_hf_source(checkpoint.path());
  if (source.packed) {
    fail<UnsupportedError>(
        "The weights of " + checkpoint.path().string() +
            " are quantized already",
        "What is quantized again loses more",
        "Take the source's floats");
  }
  return source;
}

/// As mlx-lm has them; of a folder whose family it has no layout for, or one
/// that has other rows than the checkpoint, as they are. Blocks of four-bit
/// floats have the rows that MLX has, and so have turned experts seen by rows.
std::vector<RowTensor> lay_out(
    const HfSource& source,
    const Checkpoint& checkpoint) {
  const bool folder = std::filesystem::is_directory(checkpoint.path());
  const bool by_rows = std::any_of(
      checkpoint.tensors().begin(),
      checkpoint.tensors().end(),
      [](const Tensor& each) { return each.encoding == Encoding::turned; });
  const auto type = source.config.value("model_type", std::string());
  const bool blocks = std::any_of(
      source.tensors.begin(),
      source.tensors.end(),
      [](const RowTensor& tensor) { return tensor.name.ends_with("_blocks"); });
  if (folder && !blocks && !by_rows && !mlx_layout_keeps_rows(type)) {
    return source.tensors;
  }
  return to_mlx_layout(source.tensors, source.config, source.tied);
}

/// A stack of experts whose matrices the checkpoint has one by one.
std::vector<NamedRows> by_expert(
    const NamedRows& part,
    const RowTensor& tensor,
    const Checkpoint& checkpoint) {
  const bool one_by_one = part.rows == 0 && !part.stacked &&
                          checkpoint.find(part.name) == nullptr &&
                          checkpoint.find(expert_name(part.name, 0)) != nullptr;
  if (!one_by_one) {
    return {part};
  }
  std::vector<NamedRows> out;
  for (std::int64_t first = 0; first < tensor.rows();) {
    NamedRows one = part;
    one.name = expert_name(part.name, static_cast<int>(out.size()));
    one.row_begin = first;
    one.rows = checkpoint.at(one.name).rows;
    first += one.rows;
    out.push_back(std::move(one));
  }
  return out;
}

/// A name that stands for turned experts in one layout and for others in MLX's:
/// what the checkpoint has decides. Where it has rows of gate and up in turns,
/// neither's rows are a run of its own.
void as_in_checkpoint(NamedRows& part, const Checkpoint& checkpoint) {
  if (checkpoint.find(part.name) != nullptr) {
    return;
  }
  if (const auto at = part.name.find(kTurnedExpertsPart);
      at != std::string::npos) {
    part.name.replace(at, kTurnedExpertsPart.size(), kExpertsPart);
    part.transposed = false;
    return;
  }
  for (const std::string_view one : {".experts.gate", ".experts.up"}) {
    const std::size_t at = part.name.find(one);
    if (at == std::string::npos) {
      continue;
    }
    std::string both = part.name;
    both.replace(at, one.size(), ".experts.gate_up");
    if (checkpoint.find(both) != nullptr) {
      part.name = both;
      part.transposed = true;
    }
  }
}

/// Codes of the source's that a format wouldn't make smaller.
bool stays_packed(const StoredTensor& stored, const MatrixFormat& format) {
  const PackedPiece* packed = stored.tensor->packed();
  return packed != nullptr && format.mode != QuantMode::keep &&
         format.bits >= packed->form.bits;
}

/// Whether codes of the checkpoint's rows are codes of the stored ones.
bool stored_by_rows(const StoredTensor& stored, const Checkpoint& checkpoint) {
  return std::all_of(
      stored.parts.begin(),
      stored.parts.end(),
      [&](const NamedRows& part) {
        const Tensor* tensor = checkpoint.find(part.name);
        return !part.transposed && !part.stacked && tensor != nullptr &&
               tensor->cols == stored.tensor->cols();
      });
}

}  // namespace

MlxPlaces::MlxPlaces(const Checkpoint& checkpoint)
    : checkpoint_(checkpoint), source_(open_floats(checkpoint)) {
  const bool folder = std::filesystem::is_directory(checkpoint.path());
  tensors_ = lay_out(source_, checkpoint);
  const ModelSpec spec =
      folder ? checkpoint.spec() : read_config(source_.config);
  if (!folder) {
    file_family_ = find_gguf_family(checkpoint.spec().family);
    family_ = find_family(spec.family);
  }
  stored_.reserve(tensors_.size());  // places point into it
  for (const RowTensor& tensor : tensors_) {
    add(tensor, spec);
  }
}

void MlxPlaces::add(const RowTensor& tensor, const ModelSpec& spec) {
  StoredTensor stored{&tensor, std::string(without_weight(tensor.name)), {}};
  for (NamedRows& part :
       map_tensor_name(stored.module, NameStyle::hugging_face, spec)) {
    as_in_checkpoint(part, checkpoint_);
    for (NamedRows& each : by_expert(part, tensor, checkpoint_)) {
      stored.parts.push_back(std::move(each));
    }
  }
  const bool needed = std::any_of(
      stored.parts.begin(),
      stored.parts.end(),
      [&](const NamedRows& part) {
        return checkpoint_.find(part.name) != nullptr;
      });
  const bool folder = std::filesystem::is_directory(checkpoint_.path());
  const bool elsewhere = !needed || tensor.rearranged;
  if (!folder && tensor.rows() > 1 && elsewhere && !is_paired(stored)) {
    fail<UnsupportedError>(
        fmt::format("Can't quantize {}", checkpoint_.path().string()),
        fmt::format(
            "The file has the values of {} in another order than a folder",
            tensor.name),
        "Make it a folder first: roofline convert --hf-path FILE --mlx-path "
        "FOLDER");
  }
  // Scalars of activations stand in a file's metadata.
  if (!needed && folder) {
    return;
  }
  stored_.push_back(std::move(stored));
  for (const NamedRows& part : stored_.back().parts) {
    places_.emplace(
        part.name,
        StoredPlace{&stored_.back(), part, heads_in_pairs(part.name)});
  }
}

/// Rows of heads in pairs are put in halves on the way.
bool MlxPlaces::is_paired(const StoredTensor& stored) const {
  return std::any_of(
      stored.parts.begin(),
      stored.parts.end(),
      [&](const NamedRows& part) { return heads_in_pairs(part.name) > 0; });
}

/// GGUF files hold some families' queries and keys with the dims that rotate
/// together side by side.
int MlxPlaces::heads_in_pairs(const std::string& name) const {
  const ModelSpec& spec = checkpoint_.spec();
  const std::size_t dot = name.find('.', kLayers.size());
  if (file_family_ == nullptr || family_ == nullptr ||
      !name.starts_with(kLayers) || dot == std::string::npos) {
    return 0;
  }
  const auto& attention =
      spec.layers[std::stoul(name.substr(kLayers.size()))].attention;
  return attention ? paired_heads(
                         *attention,
                         std::string_view(name).substr(dot + 1),
                         *file_family_,
                         *family_)
                   : 0;
}

const StoredPlace* MlxPlaces::find(const std::string& name) const {
  const auto found = places_.find(name);
  return found == places_.end() ? nullptr : &found->second;
}

std::vector<std::vector<std::string>> MlxPlaces::together() const {
  std::vector<std::vector<std::string>> out;
  for (const StoredTensor& stored : stored_) {
    if (stored.parts.size() < 2) {
      continue;
    }
    out.emplace_back();
    for (const NamedRows& part : stored.parts) {
      out.back().push_back(part.name);
    }
  }
  for (auto& [stack, experts] : loose_experts()) {
    out.push_back(std::move(experts));
  }
  return out;
}

/// Experts that the layout holds one by one, by the stack that readers make of
/// them.
std::map<std::string, std::vector<std::string>> MlxPlaces::loose_experts()
    const {
  std::map<std::string, std::vector<std::string>> out;
  for (const StoredTensor& stored : stored_) {
    if (stored.parts.size() != 1) {
      continue;
    }
    const std::string& name = stored.parts[0].name;
    if (const std::string stack = expert_stack(name); !stack.empty()) {
      out[stack].push_back(name);
    }
  }
  return out;
}

void MlxPlaces::settle(FormatPlan& plan) const {
  for (const StoredTensor& stored : stored_) {
    const bool by_rows = stored_by_rows(stored, checkpoint_);
    MatrixFormat widest = kKeep;
    for (const NamedRows& part : stored.parts) {
      const auto found = plan.formats.find(part.name);
      if (found != plan.formats.end() && by_rows &&
          (widest.mode == QuantMode::keep ||
           found->second.bits_per_weight() > widest.bits_per_weight())) {
        widest = found->second;
      }
    }
    if (stays_packed(stored, widest)) {
      widest = kKeep;
    }
    for (const NamedRows& part : stored.parts) {
      const auto found = plan.formats.find(part.name);
      if (found == plan.formats.end()) {
        continue;
      }
      const bool packed = stored.tensor->packed() != nullptr;
      if (!by_rows && !packed && found->second.mode != QuantMode::keep) {
        plan.unfit.push_back(part.name);
      }
      found->second = widest;
    }
  }
  for (const auto& [stack, experts] : loose_experts()) {
    settle_alike(experts, plan);
  }
}

/// Gives all of them the format of most bits among theirs.
void MlxPlaces::settle_alike(
    const std::vector<std::string>& names,
    FormatPlan& plan) {
  std::vector<MatrixFormat*> formats;
  for (const std::string& name : names) {
    const auto found = plan.formats.find(name);
    if (found != plan.formats.end()) {
      formats.push_back(&found->second);
    }
  }
  const auto most = std::max_element(
      formats.begin(),
      formats.end(),
      [](const MatrixFormat* a, const MatrixFormat* b) {
        return a->bits_per_weight() < b->bits_per_weight();
      });
  if (most != formats.end()) {
    const MatrixFormat widest = **most;
    for (MatrixFormat* format : formats) {
      *format = widest;
    }
  }
}

MatrixFormat MlxPlaces::format_of(
    const StoredTensor& stored,
    const FormatPlan& plan) const {
  for (const NamedRows& part : stored.parts) {
    const auto found = plan.formats.find(part.name);
    if (found != plan.formats.end()) {
      return found->second;
    }
  }
  return kKeep;
}

MatrixFormat MlxPlaces::stored_format(
    const StoredTensor& stored,
    const FormatPlan& plan) const {
  const MatrixFormat format = format_of(stored, plan);
  const PackedPiece* packed = stored.tensor->packed();
  if (format.mode != QuantMode::keep || packed == nullptr) {
    return format;
  }
  const MlxForm& form = packed->form;
  for (const QuantMode mode :
       {QuantMode::mxfp4, QuantMode::nvfp4, QuantMode::mxfp8}) {
    if (mode_name(mode) == form.mode) {
      return small_float_format(mode);
    }
  }
  return {QuantMode::affine, form.bits, form.group_size};
}

}  // namespace roofline
