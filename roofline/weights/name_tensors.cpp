#include "roofline/weights/name_tensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "roofline/base/errors.h"
#include "roofline/spec/mixture_names.h"
#include "roofline/spec/mlx_folding.h"
#include "roofline/weights/printable.h"

namespace roofline {

namespace {

constexpr std::string_view kWeight = ".weight";

class Namer {
 public:
  Namer(
      const ModelSpec& spec,
      const std::string& label,
      std::string_view config,
      MadeBytes& made)
      : spec_(spec), label_(label), config_(config), made_(made) {}

  void add(const Tensor& source, NameStyle style) {
    const auto parts =
        map_tensor_name(without_weight(source.name), style, spec_);
    check_parts(source, parts);
    for (const NamedRows& wanted : parts) {
      if (wanted.stacked) {
        add_piece(source, wanted);
        continue;
      }
      const bool added =
          tensors_
              .emplace(
                  wanted.name,
                  take_rows(source, wanted, made_, label_, config_))
              .second;
      const auto [origin, first] = origins_.emplace(wanted.name, source.name);
      if (!added) {
        fail_twice(wanted.name, origin->second, source.name);
      }
    }
  }

  /// MLX turns experts that others store [in, out], and one name of the two
  /// layouts is the same: gates of their own tell that it is MLX's.
  void turn_experts() {
    std::vector<std::pair<std::string, std::string>> names;
    for (const auto& [name, tensor] : tensors_) {
      const std::size_t at = name.find(kTurnedExpertsPart);
      if (at != std::string::npos &&
          has(name.substr(0, at) + ".experts.gate")) {
        std::string plain = name;
        names.emplace_back(
            name,
            plain.replace(at, kTurnedExpertsPart.size(), kExpertsPart));
      }
    }
    for (const auto& [name, plain] : names) {
      auto tensor = tensors_.extract(name);
      tensor.key() = plain;
      tensor.mapped().name = plain;
      tensors_.insert(std::move(tensor));
      origins_[plain] = origins_.at(name);
    }
  }

  /// Makes whole what came in pieces; to be called after the last add().
  void join_pieces() {
    for (const auto& [name, pieces] : pieces_) {
      std::vector<const Tensor*> found;
      for (const auto& piece : pieces) {
        if (!piece) {
          fail<CheckpointError>(
              fmt::format("{} lacks a part of {}", label_, name),
              fmt::format(
                  "Part {} of {} is missing",
                  found.size(),
                  pieces.size()),
              "Check that all files of the checkpoint are there");
        }
        found.push_back(&*piece);
      }
      tensors_.emplace(name, stack_rows(found, name, made_, label_));
      origins_.emplace(name, found.front()->name);
    }
  }

  bool has(const std::string& name) const { return tensors_.count(name) != 0; }

  std::vector<std::string> names() const {
    std::vector<std::string> out;
    for (const auto& [name, tensor] : tensors_) {
      out.push_back(name);
    }
    return out;
  }

  /// Moves out what the spec asks for, checked.
  std::vector<Tensor> take(const std::vector<ExpectedTensor>& expected) {
    std::vector<Tensor> out;
    for (const ExpectedTensor& wanted : expected) {
      if (wanted.optional && !has(wanted.name)) {
        continue;
      }
      if (wanted.pieces > 0 && !has(wanted.name)) {
        take_pieces(wanted, out);
      } else {
        out.push_back(take_one(wanted));
      }
    }
    if (!tensors_.empty()) {
      fail_superfluous(tensors_.begin()->first);
    }
    std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) {
      return a.name < b.name;
    });
    return out;
  }

  void drop(const std::string& name) { tensors_.erase(name); }

  /// A stored head that isn't a copy of the embedding. Looks at some of the
  /// bytes: a copy is equal everywhere, other weights nowhere.
  bool has_own_head() const {
    const auto head = tensors_.find("head");
    const auto embed = tensors_.find("embed");
    if (head == tensors_.end() || embed == tensors_.end()) {
      return false;
    }
    const auto ours = head->second.bytes;
    const auto other = embed->second.bytes;
    if (head->second.encoding != embed->second.encoding ||
        ours.size() != other.size()) {
      return true;
    }
    constexpr std::size_t kPiece = 4096;
    constexpr std::size_t kPieces = 64;
    const std::size_t piece = std::min(kPiece, ours.size());
    for (std::size_t i = 0; i <= kPieces; ++i) {
      const std::size_t at = (ours.size() - piece) / kPieces * i;
      const auto here = ours.subspan(at, piece);
      const auto there = other.subspan(at, piece);
      if (!std::equal(here.begin(), here.end(), there.begin())) {
        return true;
      }
    }
    return false;
  }

  /// A convolution [channels, width, 1], as MLX has them.
  bool has_convolution_last() const {
    const auto found =
        std::find_if(tensors_.begin(), tensors_.end(), [](const auto& each) {
          return each.first.ends_with(".recurrent.conv");
        });
    return found != tensors_.end() && found->second.cols == 1;
  }

 private:
  /// Parts of a packed matrix are all of it.
  void check_parts(const Tensor& source, const std::vector<NamedRows>& parts)
      const {
    std::int64_t rows = 0;
    for (const NamedRows& part : parts) {
      if (part.rows == 0 || part.transposed || part.stacked) {
        return;
      }
      rows += part.rows * part.runs;
    }
    const bool vector = source.rows == 1;
    const std::int64_t stored = vector ? source.cols : source.rows;
    if (!parts.empty() && rows != stored) {
      fail<CheckpointError>(
          fmt::format(
              "{}: tensor {} has {} rows",
              label_,
              printable(source.name),
              stored),
          fmt::format("{} says {} for its parts together", config_, rows),
          fmt::format("Check that {} belongs to these weights", config_));
    }
  }

  void add_piece(const Tensor& source, const NamedRows& wanted) {
    const auto [index, count] = *wanted.stacked;
    auto& pieces = pieces_[wanted.name];
    pieces.resize(static_cast<std::size_t>(count));
    if (index >= count) {
      fail<CheckpointError>(
          fmt::format("{} has the tensor {}", label_, printable(source.name)),
          fmt::format("{} says that there are {}", config_, count),
          fmt::format("Check that {} belongs to these weights", config_));
    }
    auto& place = pieces[static_cast<std::size_t>(index)];
    if (place) {
      fail_twice(wanted.name, place->name, source.name);
    }
    place = source;
  }

  [[noreturn]] void fail_twice(
      const std::string& name,
      const std::string& first,
      const std::string& second) const {
    fail<CheckpointError>(
        fmt::format("{} has two tensors for {}", label_, name),
        fmt::format(
            "Both {} and {} claim to be it",
            printable(first),
            printable(second)),
        "Take a checkpoint that was saved once");
  }

  Tensor take_one(const ExpectedTensor& wanted) {
    const auto found = tensors_.find(wanted.name);
    if (found == tensors_.end()) {
      fail_missing(wanted);
    }
    fit_shape(found->second, wanted);
    check_shape(found->second, wanted);
    Tensor out = std::move(found->second);
    tensors_.erase(found);
    return out;
  }

  void take_pieces(const ExpectedTensor& wanted, std::vector<Tensor>& out) {
    ExpectedTensor piece = wanted;
    piece.rows = wanted.rows / wanted.pieces;
    for (int i = 0; i < wanted.pieces; ++i) {
      piece.name = wanted.piece(i);
      out.push_back(take_one(piece));
    }
  }

  /// What the checkpoint would call one of our names, learnt from the same
  /// tensor of another layer: "" when there is none.
  std::string own_name(const std::string& name) const {
    const auto [layer, rest] = split_layer(name);
    for (const auto& [other, origin] : origins_) {
      const auto [number, same] = split_layer(other);
      const std::string infix = fmt::format(".{}.", number);
      const std::size_t at = origin.find(infix);
      if (!rest.empty() && same == rest && at != std::string::npos) {
        std::string out = origin;
        return out.replace(at, infix.size(), fmt::format(".{}.", layer));
      }
    }
    return "";
  }

  /// "layers.3.attention.q" → "3", "attention.q"; empty for other names.
  static std::pair<std::string_view, std::string_view> split_layer(
      std::string_view name) {
    constexpr std::string_view kLayers = "layers.";
    const std::size_t dot = name.find('.', kLayers.size());
    if (name.substr(0, kLayers.size()) != kLayers ||
        dot == std::string_view::npos) {
      return {};
    }
    return {
        name.substr(kLayers.size(), dot - kLayers.size()),
        name.substr(dot + 1)};
  }

  [[noreturn]] void fail_missing(const ExpectedTensor& wanted) const {
    const std::string own = own_name(wanted.name);
    fail<CheckpointError>(
        fmt::format(
            "{} lacks the tensor {}",
            label_,
            own.empty() ? wanted.name
                        : fmt::format("{} ({})", printable(own), wanted.name)),
        fmt::format(
            "{} asks for one of {} × {}",
            config_,
            wanted.rows,
            wanted.cols),
        fmt::format(
            "Check that all files of the checkpoint are there and that {} "
            "belongs to them",
            config_));
  }

  [[noreturn]] void fail_superfluous(const std::string& name) const {
    fail<CheckpointError>(
        fmt::format(
            "{} has the tensor {} that {} doesn't ask for",
            label_,
            printable(origins_.at(name)),
            config_),
        "Leaving it out would change what the model says",
        fmt::format("Check that {} belongs to these weights", config_));
  }

  /// Axes of one element, and vectors that are stored as matrices, are a matter
  /// of taste where values lie one after another.
  static void fit_shape(Tensor& tensor, const ExpectedTensor& wanted) {
    const bool plain = tensor.encoding == Encoding::f32 ||
                       tensor.encoding == Encoding::f16 ||
                       tensor.encoding == Encoding::bf16;
    const bool loose = wanted.rows == 1 || tensor.cols == 1;
    if (plain && loose &&
        tensor.rows * tensor.cols == wanted.rows * wanted.cols) {
      tensor.rows = wanted.rows;
      tensor.cols = wanted.cols;
    }
  }

  void check_shape(const Tensor& tensor, const ExpectedTensor& wanted) const {
    if (tensor.rows == wanted.rows && tensor.cols == wanted.cols) {
      return;
    }
    fail<CheckpointError>(
        fmt::format(
            "{}: tensor {} and {} disagree",
            label_,
            printable(origins_.at(wanted.name)),
            config_),
        fmt::format(
            "{} says {} × {} for {}, but the tensor has {} × {}",
            config_,
            wanted.rows,
            wanted.cols,
            wanted.name,
            tensor.rows,
            tensor.cols),
        fmt::format("Check that {} belongs to these weights", config_));
  }

  const ModelSpec& spec_;
  const std::string& label_;
  std::string_view config_;
  MadeBytes& made_;
  std::map<std::string, Tensor> tensors_;
  std::map<std::string, std::vector<std::optional<Tensor>>> pieces_;
  std::map<std::string, std::string> origins_;
};

}  // namespace

std::string_view without_weight(std::string_view name) {
  if (name.size() > kWeight.size() &&
      name.substr(name.size() - kWeight.size()) == kWeight) {
    name.remove_suffix(kWeight.size());
  }
  return name;
}

std::vector<Tensor> name_tensors(
    std::vector<Tensor> sources,
    NameStyle style,
    TieFlag tie,
    ModelSpec& spec,
    const std::string& label,
    std::string_view config,
    MadeBytes& made) {
  Namer namer(spec, label, config, made);
  for (const Tensor& source : sources) {
    namer.add(source, style);
  }
  namer.join_pieces();
  namer.turn_experts();
  settle_layouts(spec, namer.names());
  if (style == NameStyle::gguf) {
    settle_by_tensors(spec, namer.names());
  } else if (tie == TieFlag::by_tensors) {
    spec.tied_embeddings = !namer.has("head");
  }
  if (spec.tied_embeddings && !namer.has_own_head()) {
    namer.drop("head");
  } else if (spec.tied_embeddings) {
    // A head of other values wins over the flag, as in `transformers`.
    spec.tied_embeddings = false;
  }
  if (style == NameStyle::hugging_face && namer.has_convolution_last()) {
    unfold_mlx_factors(spec);
  }
  return namer.take(expected_tensors(spec));
}

bool is_asked_for(const std::string& name, const ModelSpec& spec) {
  const auto expected = expected_tensors(spec);
  const auto parts =
      map_tensor_name(without_weight(name), NameStyle::hugging_face, spec);
  return std::any_of(parts.begin(), parts.end(), [&](const NamedRows& part) {
    return std::any_of(
        expected.begin(),
        expected.end(),
        [&](const ExpectedTensor& tensor) { return tensor.name == part.name; });
  });
}

}  // namespace roofline
