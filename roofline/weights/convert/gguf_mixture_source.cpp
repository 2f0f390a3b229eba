#include "roofline/weights/convert/gguf_mixture_source.h"

#include <utility>

#include <fmt/format.h>

#include "roofline/base/errors.h"

namespace roofline {

namespace mx = mlx::core;

namespace {

[[noreturn]] void fail_unnamed(const std::string& name) {
  fail<UnsupportedError>(
      fmt::format("Can't convert the tensor {}", name),
      "Hugging Face's layout has no name for it",
      "Take the model's own folder");
}

/// Of the three matrices; 3: none of them.
std::size_t expert_part(std::string_view name) {
  return name == "gate" ? 0 : name == "up" ? 1 : name == "down" ? 2 : 3;
}

/// rest: behind "feed_forward."; "" where there is no name.
std::string mixture_name(std::string_view rest, const HfMixtureNames& names) {
  if (rest == "router") {
    return fmt::format("{}.weight", names.router);
  }
  if (rest == "router.selection") {
    return std::string(names.selection);
  }
  if (rest == "shared.weigh") {
    return names.weigh.empty() ? "" : fmt::format("{}.weight", names.weigh);
  }
  constexpr std::string_view kShared = "shared.";
  if (!rest.starts_with(kShared) || names.shared.empty()) {
    return "";
  }
  const std::size_t part = expert_part(rest.substr(kShared.size()));
  return part > 2
             ? ""
             : fmt::format("{}{}.weight", names.shared, names.expert[part]);
}

}  // namespace

HfMixtureMaker::HfMixtureMaker(
    const ModelSpec& spec,
    std::string_view family,
    ReadFileRows read)
    : spec_(spec),
      family_(family),
      names_(hf_mixture_names(family)),
      read_(std::move(read)) {
  for (const LayerSpec& layer : spec.layers) {
    if (layer.feed_forward && layer.feed_forward->mixture) {
      experts_ = layer.feed_forward->mixture->experts;
    }
  }
}

bool HfMixtureMaker::add(
    const Tensor& tensor,
    const RowChange& change,
    std::size_t layer,
    std::string_view rest,
    std::vector<RowTensor>& out) const {
  constexpr std::string_view kPart = "feed_forward.";
  constexpr std::string_view kExperts = "experts.";
  if (!spec_.layers[layer].feed_forward->mixture || !rest.starts_with(kPart)) {
    return false;
  }
  if (names_ == nullptr) {
    fail<UnsupportedError>(
        fmt::format("Can't convert the experts of {}", family_),
        "Hugging Face's layout of this family isn't written",
        "Take the model's own folder");
  }
  if (tensor.name.ends_with(".bias")) {
    fail_unnamed(tensor.name);
  }
  rest.remove_prefix(kPart.size());
  const std::string at = fmt::format("model.layers.{}.{}", layer, names_->part);
  if (rest.starts_with(kExperts)) {
    add_experts(tensor, change, at, rest.substr(kExperts.size()), out);
    return true;
  }
  const std::string name = mixture_name(rest, *names_);
  if (name.empty()) {
    fail_unnamed(tensor.name);
  }
  out.push_back(rows(tensor, change, at + name));
  if (rest == "shared.weigh") {
    out.back().shape = {1, tensor.cols};
  }
  return true;
}

RowTensor HfMixtureMaker::rows(
    const Tensor& tensor,
    const RowChange& change,
    std::string name) const {
  RowTensor out;
  out.name = std::move(name);
  out.shape = tensor.rows == 1
                  ? std::vector<std::int64_t>{tensor.cols}
                  : std::vector<std::int64_t>{tensor.rows, tensor.cols};
  out.pieces.push_back(piece(tensor, change, 0, tensor.rows));
  return out;
}

RowPiece HfMixtureMaker::piece(
    const Tensor& tensor,
    const RowChange& change,
    std::int64_t begin,
    std::int64_t count) const {
  return {
      count,
      [&tensor, change, begin, read = read_](
          std::int64_t first,
          std::int64_t wanted,
          mx::Stream) { return read(tensor, change, begin + first, wanted); }};
}

/// rest: "gate" of all experts, or "3.gate".
void HfMixtureMaker::add_experts(
    const Tensor& tensor,
    const RowChange& change,
    const std::string& at,
    std::string_view rest,
    std::vector<RowTensor>& out) const {
  const std::size_t dot = rest.find('.');
  const bool one = dot != std::string_view::npos;
  const std::size_t part = expert_part(rest.substr(one ? dot + 1 : 0));
  const bool stacked = names_->expert[0].empty();
  if (part > 2 || (one && stacked)) {
    fail_unnamed(tensor.name);
  }
  if (stacked) {
    add_stack(tensor, change, at, part, out);
    return;
  }
  const int first = one ? std::stoi(std::string(rest.substr(0, dot))) : 0;
  const int experts = one ? 1 : experts_;
  const std::int64_t each = tensor.rows / experts;
  for (int i = 0; i < experts; ++i) {
    RowTensor expert;
    expert.name = fmt::format(
        "{}experts.{}.{}.weight",
        at,
        first + i,
        names_->expert[part]);
    expert.shape = {each, tensor.cols};
    expert.pieces.push_back(piece(tensor, change, i * each, each));
    out.push_back(std::move(expert));
  }
}

/// Gate and up of each expert in one stack, down in another.
void HfMixtureMaker::add_stack(
    const Tensor& tensor,
    const RowChange& change,
    const std::string& at,
    std::size_t part,
    std::vector<RowTensor>& out) const {
  const std::int64_t each = tensor.rows / experts_;
  if (part != 1) {
    RowTensor stack;
    stack.name = fmt::format(
        "{}{}.weight",
        at,
        part == 0 ? "input_linear" : "output_linear");
    stack.shape = {experts_, each, tensor.cols};
    for (int i = 0; i < experts_; ++i) {
      stack.pieces.push_back(piece(tensor, change, i * each, each));
    }
    out.push_back(std::move(stack));
    return;
  }
  RowTensor& stack = out.back();
  stack.shape[1] += each;
  for (int i = 0; i < experts_; ++i) {
    stack.pieces.insert(
        stack.pieces.begin() + 2 * i + 1,
        piece(tensor, change, i * each, each));
  }
}

}  // namespace roofline
