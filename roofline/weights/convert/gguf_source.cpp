#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/spec/families.h"
#include "roofline/spec/tensor_name_rows.h"
#include "roofline/spec/tensor_names.h"
#include "roofline/spec/write_config.h"
#include "roofline/text/write_tokenizer.h"
#include "roofline/weights/checkpoint.h"
#include "roofline/weights/convert/gguf_mixture_source.h"
#include "roofline/weights/convert/hf_source.h"
#include "roofline/weights/encodings.h"
#include "roofline/weights/gguf.h"
#include "roofline/weights/text_files.h"

namespace roofline {

namespace fs = std::filesystem;
namespace mx = mlx::core;
using nlohmann::json;

namespace {

/// What brings a tensor of the file back to Hugging Face's values.
struct Undo {
  int turned_heads = 0;    ///< rows go back from interleaved to half-split
  bool minus_one = false;  ///< the file holds 1 + w
  RowChange change = {};   ///< of the file's rows, before
};

void decode_changed(
    const Tensor& tensor,
    const Undo& undo,
    std::int64_t row,
    std::span<float> out) {
  decode_row(tensor, row, out);
  if (undo.change) {
    undo.change(row, out);
  }
}

/// The file's row for Hugging Face's.
std::int64_t file_row(std::int64_t row, std::int64_t rows, const Undo& undo) {
  return undo.turned_heads == 0 ? row
                                : paired_row(row, rows, undo.turned_heads);
}

void decode_vector(const Tensor& tensor, const Undo& undo, float* out) {
  const auto count = static_cast<std::size_t>(tensor.cols);
  std::vector<float> values(count);
  decode_changed(tensor, undo, 0, values);
  for (std::size_t i = 0; i < count; ++i) {
    out[i] = values[static_cast<std::size_t>(
        file_row(static_cast<std::int64_t>(i), tensor.cols, undo))];
  }
}

mx::array decode_rows(
    const Tensor& tensor,
    const Undo& undo,
    std::int64_t first,
    std::int64_t count) {
  const auto cols = static_cast<std::size_t>(tensor.cols);
  std::vector<float> values(static_cast<std::size_t>(count) * cols);
  float* data = values.data();
  if (tensor.rows == 1) {
    decode_vector(tensor, undo, data);
  } else {
    for (std::int64_t i = 0; i < count; ++i) {
      decode_changed(
          tensor,
          undo,
          file_row(first + i, tensor.rows, undo),
          {data + static_cast<std::size_t>(i) * cols, cols});
    }
  }
  if (undo.minus_one) {
    for (float& value : values) {
      value -= 1;
    }
  }
  return mx::array(
      values.begin(),
      {static_cast<int>(count), static_cast<int>(tensor.cols)},
      mx::float32);
}

/// What reads any rows of the file's tensors, for mixtures.
ReadFileRows reader_of_file(std::shared_ptr<const Checkpoint> checkpoint) {
  return [checkpoint](
             const Tensor& tensor,
             const RowChange& change,
             std::int64_t first,
             std::int64_t count) {
    Undo undo;
    undo.change = change;
    return decode_rows(tensor, undo, first, count);
  };
}

RowTensor rows_of_file(
    const Tensor& tensor,
    const Undo& undo,
    const std::shared_ptr<const Checkpoint>& checkpoint) {
  RowTensor out;
  out.shape = tensor.rows == 1
                  ? std::vector<std::int64_t>{tensor.cols}
                  : std::vector<std::int64_t>{tensor.rows, tensor.cols};
  out.dtype = mx::float32;
  out.pieces.push_back(
      {tensor.rows,
       [&tensor,
        undo,
        checkpoint](std::int64_t first, std::int64_t count, mx::Stream) {
         return decode_rows(tensor, undo, first, count);
       }});
  out.release = [&tensor, checkpoint] { checkpoint->release(tensor); };
  return out;
}

/// Hugging Face's names for ours, and what is packed together.
class HfNames {
 public:
  HfNames(const ModelSpec& spec, std::string_view family) : spec_(spec) {
    const NameTable table = name_table(NameStyle::hugging_face, family);
    take(layer_, table.own_layer);
    take(layer_, table.layer);
    take(model_, table.own_model);
    take(model_, table.model);
  }

  /// Without ".weight" or ".bias".
  std::string model_name(std::string_view ours) const {
    const std::string name(at(model_, ours));
    return ours == "head" ? name : "model." + name;
  }

  std::string layer_name(std::size_t layer, std::string_view ours) const {
    const bool pre = spec_.layers[layer].norm_placement == NormPlacement::pre;
    const std::string_view after =
        pre ? "feed_forward_norm" : "attention_post_norm";
    const std::string_view name =
        ours == after ? "post_attention_layernorm" : at(layer_, ours);
    return fmt::format("model.layers.{}.{}", layer, name);
  }

 private:
  using Names = std::map<std::string_view, std::string_view>;

  /// Of several names for one tensor, the first row's is the usual one.
  static void take(Names& names, std::span<const NameRow> rows) {
    for (const NameRow& row : rows) {
      if (row.action == NameAction::rename) {
        names.emplace(row.target, row.pattern);
      }
    }
  }

  static std::string_view at(const Names& names, std::string_view ours) {
    const auto found = names.find(ours);
    if (found == names.end()) {
      fail<UnsupportedError>(
          fmt::format("Can't convert the tensor {}", ours),
          "Hugging Face's layout has no name for it",
          "Take the model's own folder");
    }
    return found->second;
  }

  const ModelSpec& spec_;
  Names layer_, model_;
};

/// Families whose folders hold q, k, v in one matrix, and gate and up too.
bool packs(std::string_view family) {
  const NameTable table = name_table(NameStyle::gguf, family);
  return std::any_of(
      table.own_layer.begin(),
      table.own_layer.end(),
      [](const NameRow& row) {
        return row.action == NameAction::split_gate_up;
      });
}

struct PackedPart {
  std::string_view ours;
  std::string_view packed;
};
constexpr std::array<PackedPart, 5> kPacked = {{
    {"attention.q", "self_attn.qkv_proj"},
    {"attention.k", "self_attn.qkv_proj"},
    {"attention.v", "self_attn.qkv_proj"},
    {"feed_forward.gate", "mlp.gate_up_proj"},
    {"feed_forward.up", "mlp.gate_up_proj"},
}};

class TensorMaker {
 public:
  TensorMaker(
      std::shared_ptr<const Checkpoint> checkpoint,
      const Family& family,
      std::shared_ptr<const WeightChanges> changes)
      : checkpoint_(std::move(checkpoint)),
        changes_(std::move(changes)),
        file_family_(*find_gguf_family(checkpoint_->spec().family)),
        family_(family),
        names_(checkpoint_->spec(), family.name),
        packs_(packs(checkpoint_->spec().family)),
        mixture_(
            checkpoint_->spec(),
            family.name,
            reader_of_file(checkpoint_)) {}

  std::vector<RowTensor> make() {
    // In the order of expected_tensors(): q, k, v and gate, up follow.
    for (const ExpectedTensor& tensor : expected_tensors(checkpoint_->spec())) {
      const Tensor* whole = checkpoint_->find(tensor.name);
      if (whole == nullptr && tensor.pieces > 0) {
        for (int i = 0; i < tensor.pieces; ++i) {
          add(checkpoint_->at(tensor.piece(i)));
        }
      } else {
        add(checkpoint_->at(tensor.name));
      }
    }
    if (changes_) {
      for (const auto& [name, change] : *changes_) {
        if (!made_.contains(name)) {
          refuse_change(name);
        }
      }
    }
    return std::move(out_);
  }

 private:
  void add(const Tensor& tensor) {
    std::string_view base = tensor.name;
    const bool bias = base.ends_with(".bias");
    base.remove_suffix(bias ? 5 : 0);
    const std::string_view end = bias ? ".bias" : ".weight";
    made_.insert(tensor.name);
    Undo undo;
    if (changes_ && changes_->contains(tensor.name)) {
      undo.change = changes_->at(tensor.name);
    }
    undo.minus_one = family_.norm_plus_one && base.ends_with("norm") && !bias;
    std::string name;
    if (base.starts_with("layers.")) {
      const std::size_t layer = std::stoul(std::string(base.substr(7)));
      const std::string_view rest = base.substr(base.find('.', 7) + 1);
      undo.turned_heads = turned_heads(layer, rest);
      if (mixture_.add(tensor, undo.change, layer, rest, out_)) {
        return;
      }
      if (packs_ && add_packed(tensor, undo.change, layer, rest, end)) {
        return;
      }
      name = names_.layer_name(layer, rest);
    } else {
      name = names_.model_name(base);
    }
    RowTensor rows = rows_of_file(tensor, undo, checkpoint_);
    rows.name = fmt::format("{}{}", name, end);
    out_.push_back(std::move(rows));
  }

  int turned_heads(std::size_t layer, std::string_view rest) const {
    const AttentionSpec& attention =
        *checkpoint_->spec().layers[layer].attention;
    if (file_family_.gguf_rope_layout != RopeLayout::interleaved ||
        family_.rope_layout != RopeLayout::half_split) {
      return 0;
    }
    return rest == "attention.q"   ? attention.heads
           : rest == "attention.k" ? attention.kv_heads
                                   : 0;
  }

  bool add_packed(
      const Tensor& tensor,
      const RowChange& change,
      std::size_t layer,
      std::string_view rest,
      std::string_view end) {
    for (const PackedPart& part : kPacked) {
      if (part.ours != rest) {
        continue;
      }
      const std::string name =
          fmt::format("model.layers.{}.{}{}", layer, part.packed, end);
      Undo undo;
      undo.change = change;
      RowTensor rows = rows_of_file(tensor, undo, checkpoint_);
      const auto found =
          std::find_if(out_.begin(), out_.end(), [&](const RowTensor& other) {
            return other.name == name;
          });
      if (found == out_.end()) {
        rows.name = name;
        out_.push_back(std::move(rows));
      } else {
        found->shape.front() += rows.shape.front();
        found->pieces.push_back(rows.pieces.front());
      }
      return true;
    }
    return false;
  }

  std::shared_ptr<const Checkpoint> checkpoint_;
  std::shared_ptr<const WeightChanges> changes_;
  std::set<std::string> made_;
  const Family& file_family_;  ///< whose architecture the file has
  const Family& family_;       ///< whose config.json it becomes
  HfNames names_;
  bool packs_ = false;
  HfMixtureMaker mixture_;
  std::vector<RowTensor> out_;
};

/// Floats that hold what the file has without overflow: a model that scales
/// its embeddings up leaves float16's range.
std::string_view usual_dtype(const Checkpoint& checkpoint) {
  const bool wide = std::any_of(
                        checkpoint.tensors().begin(),
                        checkpoint.tensors().end(),
                        [](const Tensor& tensor) {
                          return tensor.encoding == Encoding::bf16;
                        }) ||
                    checkpoint.spec().embedding_scale != 1.0f;
  return wide ? "bfloat16" : "float16";
}

}  // namespace

std::int64_t paired_row(std::int64_t row, std::int64_t rows, int heads) {
  const std::int64_t head_dim = rows / heads;
  const std::int64_t within = row % head_dim;
  const std::int64_t half = head_dim / 2;
  return row - within + 2 * (within % half) + within / half;
}

std::vector<HfShape> hf_gguf_shapes(const Checkpoint& checkpoint) {
  const GgufFile file(checkpoint.path());
  const auto config = write_config(checkpoint.spec(), file.metadata());
  const Family* family = find_family(config["model_type"].get<std::string>());
  // It outlives the tensors, which aren't read.
  const std::shared_ptr<const Checkpoint> lent(&checkpoint, [](const auto*) {});
  std::vector<HfShape> shapes;
  for (const auto& tensor : TensorMaker(lent, *family, nullptr).make()) {
    shapes.push_back({tensor.name, tensor.shape});
  }
  return shapes;
}

HfSource hf_gguf_source(
    const fs::path& path,
    std::shared_ptr<const WeightChanges> changes) {
  const std::shared_ptr<const Checkpoint> checkpoint = Checkpoint::open(path);
  const GgufFile file(path);
  HfSource out;
  out.config = write_config(checkpoint->spec(), file.metadata());
  out.config["torch_dtype"] = usual_dtype(*checkpoint);
  const Family* family =
      find_family(out.config["model_type"].get<std::string>());
  out.tensors = TensorMaker(checkpoint, *family, std::move(changes)).make();
  out.tied = checkpoint->spec().tied_embeddings;
  const VocabularySpec vocabulary = gguf_vocabulary(file);
  out.texts = {
      {"tokenizer.json", tokenizer_json(vocabulary)},
      {"tokenizer_config.json",
       tokenizer_config_json(
           vocabulary,
           gguf_chat_template(file),
           checkpoint->spec().context_tokens)}};
  out.owner = checkpoint;
  return out;
}

}  // namespace roofline
