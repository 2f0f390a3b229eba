#include "roofline/model/recurrent_states.h"

#include <algorithm>
#include <limits>
#include <utility>

#include <fmt/format.h>
#include <mlx/ops.h>

#include "roofline/base/errors.h"

namespace roofline {

namespace {

mx::Shape memory_shape(const RecurrentSpec& spec) {
  switch (spec.kind) {
    case RecurrentKind::mamba2:
      return {spec.heads, spec.head_dim, spec.state_dim};
    case RecurrentKind::gated_delta:
      return {spec.heads, spec.state_dim, spec.head_dim};
    case RecurrentKind::short_conv:
      break;
  }
  return {0};
}

RecurrentState zeros_of(const RecurrentSpec& spec) {
  const mx::Shape inputs = {spec.conv_width - 1, spec.conv_channels};
  return {
      mx::zeros(inputs, mx::float32),
      mx::zeros(memory_shape(spec), mx::float32)};
}

}  // namespace

std::size_t state_bytes(const RecurrentSpec& spec) {
  const auto inputs =
      static_cast<std::size_t>(std::max(0, spec.conv_width - 1));
  std::size_t values = inputs * static_cast<std::size_t>(spec.conv_channels);
  if (spec.kind != RecurrentKind::short_conv) {
    values += static_cast<std::size_t>(spec.heads) *
              static_cast<std::size_t>(spec.head_dim) *
              static_cast<std::size_t>(spec.state_dim);
  }
  return values * sizeof(float);
}

std::size_t state_bytes(const ModelSpec& spec) {
  std::size_t sum = 0;
  for (const LayerSpec& layer : spec.layers) {
    sum += layer.recurrent ? state_bytes(*layer.recurrent) : 0;
  }
  return sum;
}

RecurrentStates::RecurrentStates(const ModelSpec& spec, int most_kept)
    : most_kept_(most_kept), bytes_each_(state_bytes(spec)) {
  for (const LayerSpec& layer : spec.layers) {
    fresh_.emplace_back();
    if (layer.recurrent) {
      fresh_.back() = zeros_of(*layer.recurrent);
      empty_ = false;
    }
  }
  layers_ = fresh_;
}

RecurrentState& RecurrentStates::at(int layer) {
  auto& state = layers_.at(static_cast<std::size_t>(layer));
  if (!state) {
    fail<BugError>(
        fmt::format("recurrent_states: layer {} has no state", layer),
        "It isn't recurrent",
        "Ask for the state of a recurrent layer.");
  }
  return *state;
}

void RecurrentStates::reserve() {
  reserved_ = true;
}

void RecurrentStates::keep(std::int64_t position) {
  before_step_.reset();
  if (empty_ || most_kept_ < 1 || position == 0) {
    return;
  }
  const auto at = std::lower_bound(
      kept_.begin(),
      kept_.end(),
      position,
      [](const Kept& kept, std::int64_t value) {
        return kept.position < value;
      });
  if (at != kept_.end() && at->position == position) {
    return;
  }
  kept_.insert(at, {position, layers_});
  if (kept_.size() > static_cast<std::size_t>(most_kept_)) {
    drop_one();
  }
}

void RecurrentStates::keep_for_a_step(std::int64_t position) {
  if (!empty_) {
    before_step_ = {position, layers_};
  }
}

/// The last two stay: before and after a prompt's tail, which is where a later
/// prompt most likely goes back to.
void RecurrentStates::drop_one() {
  std::size_t victim = 0;
  auto closest = std::numeric_limits<std::int64_t>::max();
  const auto fixed = static_cast<std::size_t>(std::min(most_kept_, 2));
  for (std::size_t i = 0; i + fixed < kept_.size(); ++i) {
    const auto before = i == 0 ? 0 : kept_[i - 1].position;
    const auto gap = kept_[i + 1].position - before;
    if (gap < closest) {
      closest = gap;
      victim = i;
    }
  }
  kept_.erase(kept_.begin() + static_cast<std::ptrdiff_t>(victim));
}

std::int64_t RecurrentStates::reachable(
    std::int64_t position,
    std::int64_t current) const {
  if (empty_ || position >= current) {
    return position;
  }
  std::int64_t best = 0;
  for (const Kept& kept : kept_) {
    if (kept.position <= position) {
      best = kept.position;
    }
  }
  if (before_step_ && before_step_->position <= position) {
    best = std::max(best, before_step_->position);
  }
  return best;
}

void RecurrentStates::return_to(std::int64_t position, std::int64_t current) {
  if (empty_ || position == current) {
    return;
  }
  while (!kept_.empty() && kept_.back().position > position) {
    kept_.pop_back();
  }
  const auto before_step = std::exchange(before_step_, std::nullopt);
  if (before_step && before_step->position == position) {
    layers_ = before_step->layers;
    return;
  }
  if (position == 0) {
    layers_ = fresh_;
    return;
  }
  if (kept_.empty() || kept_.back().position != position) {
    fail<BugError>(
        fmt::format("recurrent_states: return to position {}", position),
        "No state was kept there",
        "Return to a position that is reachable.");
  }
  layers_ = kept_.back().layers;
}

std::size_t RecurrentStates::bytes() const {
  return bytes_each_ *
         (kept_.size() + (before_step_ ? 1 : 0) + (reserved_ ? 1 : 0));
}

}  // namespace roofline
