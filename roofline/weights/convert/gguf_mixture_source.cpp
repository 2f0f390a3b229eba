#include "roofline/weights/convert/gguf_mixture_source.h"

#include <utility>

#include <fmt/format.h>

#include "roofline/base/errors.h"

namespace roofline {

namespace {

constexpr std::string_view kShared = "shared.";

[[noreturn]] void fail_unnamed(std::string_view name) {
  fail<UnsupportedError>(
      fmt::format("Can't convert a mixture's tensor {}", name),
      "Hugging Face's layout has no name for it",
      "Take the model's own folder");
}

/// Of the three matrices; 3: none of them.
std::size_t expert_part(std::string_view name) {
  return name == "gate" ? 0 : name == "up" ? 1 : name == "down" ? 2 : 3;
}

std::string with_ending(std::string_view name, bool bias) {
  return fmt::format("{}{}", name, bias ? ".bias" : ".weight");
}

/// rest: behind "feed_forward."; "" where there is no name.
std::string mixture_name(
    std::string_view rest,
    bool bias,
    const HfMixtureNames& names) {
  if (rest == "router") {
    return with_ending(names.router, bias);
  }
  if (rest == "router.selection") {
    return std::string(names.selection);
  }
  if (rest == "shared.weigh") {
    return names.weigh.empty() ? "" : with_ending(names.weigh, bias);
  }
  if (rest == "latent_in" || rest == "latent_out") {
    const auto& name = names.latent[rest == "latent_in" ? 0 : 1];
    return name.empty() ? "" : with_ending(name, bias);
  }
  if (!rest.starts_with(kShared) || names.shared.empty()) {
    return "";
  }
  const std::size_t part = expert_part(rest.substr(kShared.size()));
  return part > 2 ? ""
                  : with_ending(
                        fmt::format("{}{}", names.shared, names.expert[part]),
                        bias);
}

}  // namespace

HfMixtureMaker::HfMixtureMaker(const ModelSpec& spec, std::string_view family)
    : spec_(spec), family_(family), names_(hf_mixture_names(family)) {
  for (const LayerSpec& layer : spec.layers) {
    if (layer.feed_forward && layer.feed_forward->mixture) {
      experts_ = layer.feed_forward->mixture->experts;
    }
  }
}

bool HfMixtureMaker::add(
    const FileRows& rows,
    const std::string& prefix,
    std::size_t layer,
    std::string_view rest,
    bool bias,
    std::vector<RowTensor>& out) const {
  constexpr std::string_view kPart = "feed_forward.";
  constexpr std::string_view kExperts = "experts.";
  const auto& feed_forward = spec_.layers[layer].feed_forward;
  if (!feed_forward || !feed_forward->mixture || !rest.starts_with(kPart)) {
    return false;
  }
  if (names_ == nullptr) {
    fail<UnsupportedError>(
        fmt::format("Can't convert the experts of {}", family_),
        "Hugging Face's layout of this family isn't written",
        "Take the model's own folder");
  }
  rest.remove_prefix(kPart.size());
  const bool beside =
      feed_forward->mixture_beside_dense && !rest.starts_with(kExperts);
  if (beside || (rest.starts_with(kShared) && names_->shared_outside)) {
    return false;  // it has a name of its own
  }
  const std::string at = prefix + std::string(names_->part);
  if (rest.starts_with(kExperts)) {
    add_experts(rows, at, rest.substr(kExperts.size()), bias, out);
    return true;
  }
  const std::string name = mixture_name(rest, bias, *names_);
  if (name.empty()) {
    fail_unnamed(rest);
  }
  out.push_back(rows.tensor());
  out.back().name = at + name;
  if (rest == "shared.weigh" ||
      (rest == "router.selection" && names_->selection_row)) {
    out.back().shape = {1, rows.cols()};
  } else if (rest == "router") {
    out.back().shape =
        bias ? std::vector<std::int64_t>{rows.cols()}
             : std::vector<std::int64_t>{rows.rows(), rows.cols()};
  }
  return true;
}

/// rest: "gate" of all experts, or "3.gate".
void HfMixtureMaker::add_experts(
    const FileRows& rows,
    const std::string& at,
    std::string_view rest,
    bool bias,
    std::vector<RowTensor>& out) const {
  const std::size_t dot = rest.find('.');
  const bool one = dot != std::string_view::npos;
  const std::size_t part = expert_part(rest.substr(one ? dot + 1 : 0));
  const bool apart = names_->stack.empty();
  const bool packed = names_->stack == HfMixtureNames::kPacked;
  if (part > 2 || (!apart && !packed && one) || (bias && (apart || packed))) {
    fail_unnamed(rest);
  }
  const int first = one ? std::stoi(std::string(rest.substr(0, dot))) : 0;
  const int experts = one ? 1 : experts_;
  if (packed) {
    add_packed_stack(rows, at, part, first, experts, out);
    return;
  }
  if (!apart) {
    RowTensor stack = rows.tensor();
    stack.name = with_ending(
        fmt::format("{}{}{}", at, names_->stack, names_->expert[part]),
        bias);
    stack.shape = bias ? std::vector<std::int64_t>{experts_, rows.cols()}
                       : std::vector<std::int64_t>{
                             experts_,
                             rows.rows() / experts_,
                             rows.cols()};
    out.push_back(std::move(stack));
    return;
  }
  const std::int64_t each = rows.rows() / experts;
  for (int i = 0; i < experts; ++i) {
    RowTensor expert;
    expert.name = fmt::format(
        "{}experts.{}.{}.weight",
        at,
        first + i,
        names_->expert[part]);
    expert.shape = {each, rows.cols()};
    expert.pieces.push_back(rows.piece(i * each, each));
    expert.release = rows.release();
    out.push_back(std::move(expert));
  }
}

/// Gate and up of each expert in one stack, down in another. first, count: the
/// experts that these rows are of.
void HfMixtureMaker::add_packed_stack(
    const FileRows& rows,
    const std::string& at,
    std::size_t part,
    int first,
    int count,
    std::vector<RowTensor>& out) const {
  const std::int64_t each = rows.rows() / count;
  if (part != 1 && first == 0) {
    RowTensor stack;
    stack.name = at + std::string(names_->expert[part]);
    stack.shape = {experts_, each, rows.cols()};
    out.push_back(std::move(stack));
  }
  RowTensor& stack = out.back();
  if (part == 1 && first == 0) {
    stack.shape[1] += each;
  }
  for (int i = 0; i < count; ++i) {
    const auto place = part == 1 ? stack.pieces.begin() + 2 * (first + i) + 1
                                 : stack.pieces.end();
    stack.pieces.insert(place, rows.piece(i * each, each));
  }
  stack.release = [before = stack.release, own = rows.release()] {
    if (before) {
      before();
    }
    own();
  };
}

}  // namespace roofline
