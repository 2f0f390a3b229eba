#include "roofline/weights/convert/gguf_tensor_source.h"

#include <set>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <mlx/ops.h>

#include "roofline/spec/hf_names.h"
#include "roofline/spec/tensor_names.h"
#include "roofline/weights/convert/file_rows.h"
#include "roofline/weights/convert/gguf_mixture_source.h"
#include "roofline/weights/convert/gguf_recurrent_source.h"
#include "roofline/weights/convert/hf_source.h"

namespace roofline {

namespace mx = mlx::core;

namespace {

std::vector<std::int64_t> unpaired_rows(std::int64_t rows, int heads) {
  std::vector<std::int64_t> out;
  for (std::int64_t row = 0; row < rows; ++row) {
    out.push_back(paired_row(row, rows, heads));
  }
  return out;
}

/// One of our tensors of a layer: "layers.3.attention.q.bias" in its parts.
struct Place {
  std::size_t layer = 0;
  std::string_view rest;  ///< behind "layers.3.", without ".bias"
  bool bias = false;
};

class TensorMaker {
 public:
  TensorMaker(
      std::shared_ptr<const Checkpoint> checkpoint,
      const Family& family,
      std::shared_ptr<const WeightChanges> changes)
      : checkpoint_(std::move(checkpoint)),
        spec_(checkpoint_->spec()),
        changes_(std::move(changes)),
        file_family_(*find_gguf_family(spec_.family)),
        family_(family),
        names_(spec_, family.name),
        mixture_(spec_, family.name) {}

  std::vector<RowTensor> make() {
    // In the order of expected_tensors(): q, k, v and gate, up follow.
    for (const ExpectedTensor& tensor : expected_tensors(spec_)) {
      const Tensor* whole = checkpoint_->find(tensor.name);
      if (whole == nullptr && tensor.pieces > 0) {
        for (int i = 0; i < tensor.pieces; ++i) {
          add(checkpoint_->at(tensor.piece(i)));
        }
      } else if (whole != nullptr || !tensor.optional) {
        add(checkpoint_->at(tensor.name));
      }
    }
    add_activations();
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
  FileRows file_rows(const Tensor& tensor, Undo undo) {
    made_.insert(tensor.name);
    if (changes_ && changes_->contains(tensor.name)) {
      undo.change = changes_->at(tensor.name);
    }
    return {tensor, std::move(undo), checkpoint_};
  }

  void push(const FileRows& rows, std::string name) {
    out_.push_back(rows.tensor());
    out_.back().name = std::move(name);
  }

  void add(const Tensor& tensor) {
    if (made_.contains(tensor.name)) {
      return;  // with another one
    }
    std::string_view base = tensor.name;
    const bool bias = base.ends_with(".bias");
    base.remove_suffix(bias ? 5 : 0);
    if (base.starts_with("layers.")) {
      const std::size_t layer = std::stoul(std::string(base.substr(7)));
      add_to_layer(tensor, {layer, base.substr(base.find('.', 7) + 1), bias});
      return;
    }
    Undo undo;
    undo.minus_one = family_.norm_plus_one && base == "final_norm" && !bias;
    push(file_rows(tensor, std::move(undo)), names_.model_name(base, bias));
  }

  void add_to_layer(const Tensor& tensor, const Place& place) {
    const FileRows rows = file_rows(tensor, undo_of(tensor, place));
    if (mixture_.add(
            rows,
            names_.layer_prefix(place.layer),
            place.layer,
            place.rest,
            place.bias,
            out_)) {
      return;
    }
    if (place.rest == "attention.k_b") {
      add_latent(rows, place);
    } else if (
        place.rest == "recurrent.in" && family_.recurrent &&
        add_inputs(rows, place)) {
      return;
    } else if (place.rest == "recurrent.in_rate" && by_key_head()) {
      const std::string name = fmt::format(
          "{}linear_attn.in_proj_ba.weight",
          names_.layer_prefix(place.layer));
      out_.push_back(joined_rates(
          rows,
          sibling(place, "recurrent.in_step"),
          *layer_of(place).recurrent));
      out_.back().name = name;
    } else if (const HfPacked* packed = hf_packed(family_.name, place.rest)) {
      add_packed(*packed, place);
    } else if (is_norm_of_heads(place)) {
      add_norms_of_heads(rows, place);
    } else {
      push(rows, names_.layer_name(place.layer, place.rest, place.bias));
      settle_shape(rows, place);
    }
  }

  const LayerSpec& layer_of(const Place& place) const {
    return spec_.layers[place.layer];
  }

  bool by_key_head() const { return family_.recurrent->rows_by_key_head; }

  Undo undo_of(const Tensor& tensor, const Place& place) const {
    constexpr std::string_view kRecurrent = "recurrent.";
    if (place.rest.starts_with(kRecurrent)) {
      return undo_recurrent(
          place.rest.substr(kRecurrent.size()),
          *layer_of(place).recurrent,
          *family_.recurrent);
    }
    Undo undo;
    undo.minus_one =
        family_.norm_plus_one && place.rest.ends_with("norm") && !place.bias;
    if (const int heads = turned_heads(place)) {
      const bool vector = tensor.rows == 1;
      undo.rows = unpaired_rows(vector ? tensor.cols : tensor.rows, heads);
    }
    return undo;
  }

  int turned_heads(const Place& place) const {
    const auto& attention = layer_of(place).attention;
    return attention
               ? paired_heads(*attention, place.rest, file_family_, family_)
               : 0;
  }

  void settle_shape(const FileRows& rows, const Place& place) {
    RowTensor& tensor = out_.back();
    if (place.rest == "recurrent.conv" && !place.bias) {
      tensor.shape = {rows.rows(), 1, rows.cols()};
    } else if (
        layer_of(place).attention &&
        layer_of(place).attention->qk_norm == QkNorm::per_head_own &&
        place.rest.ends_with("_norm") && place.rest.starts_with("attention.")) {
      tensor.shape = {rows.rows(), rows.cols()};
    }
  }

  const Tensor* find_sibling(const Place& place, std::string_view rest) const {
    return checkpoint_->find(fmt::format(
        "layers.{}.{}{}",
        place.layer,
        rest,
        place.bias ? ".bias" : ""));
  }

  /// Another tensor of the layer, which so needs no place of its own.
  FileRows sibling(const Place& place, std::string_view rest) {
    const Tensor& tensor = checkpoint_->at(fmt::format(
        "layers.{}.{}{}",
        place.layer,
        rest,
        place.bias ? ".bias" : ""));
    return file_rows(tensor, undo_of(tensor, {place.layer, rest, place.bias}));
  }

  /// false where the file's matrix is the folder's.
  bool add_inputs(const FileRows& rows, const Place& place) {
    constexpr std::string_view kGate = "recurrent.in_gate";
    if (!by_key_head() || find_sibling(place, kGate) == nullptr) {
      return false;
    }
    const std::string name =
        names_.layer_name(place.layer, place.rest, place.bias);
    out_.push_back(joined_by_key_head(
        rows,
        sibling(place, kGate),
        *layer_of(place).recurrent));
    out_.back().name = name;
    return true;
  }

  /// Keys (turned there) and values of each head in one matrix.
  void add_latent(const FileRows& keys, const Place& place) {
    const AttentionSpec& attention = *layer_of(place).attention;
    const FileRows values = sibling(place, "attention.v_b");
    const std::int64_t rank = attention.latent->kv_rank;
    const std::int64_t nope = attention.latent->nope_dim;
    const std::int64_t dims = attention.value_dim.value_or(attention.head_dim);
    RowTensor both;
    both.name = names_.layer_name(place.layer, "attention.kv_b", false);
    both.shape = {attention.heads * (nope + dims), rank};
    both.rearranged = true;
    for (std::int64_t head = 0; head < attention.heads; ++head) {
      both.pieces.push_back(
          {nope,
           [keys,
            head,
            rank](std::int64_t first, std::int64_t count, mx::Stream stream) {
             const mx::array turned =
                 mx::transpose(keys.read(head * rank, rank), stream);
             return mx::contiguous(
                 mx::slice(
                     turned,
                     {static_cast<int>(first), 0},
                     {static_cast<int>(first + count), static_cast<int>(rank)},
                     stream),
                 false,
                 stream);
           }});
      both.pieces.push_back(values.piece(head * dims, dims));
    }
    both.release = [keys = keys.release(), values = values.release()] {
      keys();
      values();
    };
    out_.push_back(std::move(both));
  }

  /// Where the first of the parts stands.
  void add_packed(const HfPacked& packed, const Place& place) {
    std::vector<FileRows> parts;
    std::vector<std::int64_t> of_head;
    for (const std::string_view part : packed.parts) {
      if (!part.empty()) {
        parts.push_back(sibling(place, part));
      }
    }
    const int heads = packed.by_head ? layer_of(place).attention->heads : 1;
    const std::string name = fmt::format(
        "{}{}{}",
        names_.layer_prefix(place.layer),
        packed.packed,
        place.bias ? ".bias" : ".weight");
    if (place.bias) {
      out_.push_back(joined_vectors(name, parts, order_by_head(parts, heads)));
      return;
    }
    RowTensor out;
    out.name = name;
    out.shape = {0, parts.front().cols()};
    out.rearranged = heads > 1;
    for (std::int64_t head = 0; head < heads; ++head) {
      for (const FileRows& part : parts) {
        const std::int64_t each = part.rows() / heads;
        out.pieces.push_back(part.piece(head * each, each));
        out.shape[0] += each;
      }
    }
    out.release = [parts] {
      for (const FileRows& part : parts) {
        part.release()();
      }
    };
    out_.push_back(std::move(out));
  }

  /// Of vectors one after another; empty: as they are.
  static std::vector<std::int64_t> order_by_head(
      const std::vector<FileRows>& parts,
      int heads) {
    std::vector<std::int64_t> out;
    for (std::int64_t head = 0; heads > 1 && head < heads; ++head) {
      std::int64_t before = 0;
      for (const FileRows& part : parts) {
        const std::int64_t each = part.cols() / heads;
        for (std::int64_t i = 0; i < each; ++i) {
          out.push_back(before + head * each + i);
        }
        before += part.cols();
      }
    }
    return out;
  }

  /// The name is of each head's.
  bool is_norm_of_heads(const Place& place) const {
    const bool norm =
        place.rest == "attention.q_norm" || place.rest == "attention.k_norm";
    return norm && layer_of(place).attention->qk_norm == QkNorm::per_head_own &&
           names_.layer_name(place.layer, place.rest, false).find('*') !=
               std::string::npos;
  }

  void add_norms_of_heads(const FileRows& rows, const Place& place) {
    const std::string name =
        names_.layer_name(place.layer, place.rest, place.bias);
    for (std::int64_t head = 0; head < rows.rows(); ++head) {
      RowTensor norm;
      norm.name = name;
      norm.name.replace(name.find('*'), 1, std::to_string(head));
      norm.shape = {rows.cols()};
      norm.pieces.push_back(rows.piece(head, 1));
      norm.release = rows.release();
      out_.push_back(std::move(norm));
    }
  }

  /// Scalars of activations stand in the file's metadata.
  void add_activations() {
    for (std::size_t i = 0; i < spec_.layers.size(); ++i) {
      const auto& feed_forward = spec_.layers[i].feed_forward;
      if (!feed_forward || !feed_forward->xielu) {
        continue;
      }
      const Xielu& xielu = *feed_forward->xielu;
      const std::string at = names_.layer_prefix(i) + "mlp.act_fn.";
      add_scalar(at + "alpha_p", xielu.alpha_p, {1});
      add_scalar(at + "alpha_n", xielu.alpha_n, {1});
      add_scalar(at + "beta", xielu.beta, {});
      add_scalar(at + "eps", xielu.eps, {});
    }
  }

  void add_scalar(
      std::string name,
      float value,
      std::vector<std::int64_t> shape) {
    out_.push_back(computed_rows(
        std::move(name),
        std::move(shape),
        mx::float32,
        [value](mx::Stream) { return mx::array(value); }));
  }

  std::shared_ptr<const Checkpoint> checkpoint_;
  const ModelSpec& spec_;
  std::shared_ptr<const WeightChanges> changes_;
  std::set<std::string> made_;
  const Family& file_family_;  ///< whose architecture the file has
  const Family& family_;       ///< whose config.json it becomes
  HfNames names_;
  HfMixtureMaker mixture_;
  std::vector<RowTensor> out_;
};

}  // namespace

int paired_heads(
    const AttentionSpec& attention,
    std::string_view name,
    const Family& file,
    const Family& folder) {
  // Of layers without positions too.
  if (attention.latent || file.gguf_rope_layout != RopeLayout::interleaved ||
      folder.rope_layout != RopeLayout::half_split) {
    return 0;
  }
  return name == "attention.q"   ? attention.heads
         : name == "attention.k" ? attention.kv_heads
                                 : 0;
}

std::int64_t paired_row(std::int64_t row, std::int64_t rows, int heads) {
  const std::int64_t head_dim = rows / heads;
  const std::int64_t within = row % head_dim;
  const std::int64_t half = head_dim / 2;
  return row - within + 2 * (within % half) + within / half;
}

std::vector<RowTensor> make_hf_tensors(
    const std::shared_ptr<const Checkpoint>& checkpoint,
    const Family& family,
    const std::shared_ptr<const WeightChanges>& changes) {
  return TensorMaker(checkpoint, family, changes).make();
}

}  // namespace roofline
