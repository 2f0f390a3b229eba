#include "roofline/train/parameters.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include <fmt/format.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include "roofline/base/errors.h"
#include "roofline/spec/adapter_targets.h"
#include "roofline/train/batches.h"

namespace roofline {

namespace {

/// The layer of "layers.12.…"; −1 for other names.
int layer_of(std::string_view name) {
  constexpr std::string_view kPrefix = "layers.";
  int layer = -1;
  if (name.starts_with(kPrefix)) {
    const char* begin = name.data() + kPrefix.size();
    std::from_chars(begin, name.data() + name.size(), layer);
  }
  return layer;
}

mx::Shape array_shape(const TrainedShape& shape) {
  if (shape.rows == 1) {
    return {static_cast<int>(shape.cols)};
  }
  return {static_cast<int>(shape.rows), static_cast<int>(shape.cols)};
}

/// In [−1, 1).
float uniform(std::uint64_t& state) {
  return static_cast<float>(
      static_cast<double>(next_random(state) >> 11) * 0x1p-52 - 1.0);
}

}  // namespace

bool is_trained_name(std::string_view name, int layers, int last_layers) {
  return last_layers == 0 || layer_of(name) >= layers - last_layers;
}

bool is_target(std::string_view name, const std::vector<std::string>& targets) {
  return std::any_of(
      targets.begin(),
      targets.end(),
      [&](const std::string& target) {
        return name.ends_with(adapter_tensor_end(target));
      });
}

Parameters::Parameters(
    const TrainableDecoder& decoder,
    const TrainOptions& options)
    : decoder_(decoder), full_(options.method == AdaptMethod::full) {
  if (full_) {
    for (const auto& [name, hook] : decoder.hooks()) {
      if (hook && hook->trained) {
        hooks_.push_back(hook);
        add(name,
            {static_cast<std::size_t>(hook->rows),
             static_cast<std::size_t>(hook->cols)});
        mx::array value = mx::contiguous(*hook->trained);
        mx::eval(value);
        std::copy_n(
            value.data<float>(),
            values_.back().size(),
            values_.back().begin());
        hook->trained = mx::array(0.0f);  // its memory goes
      }
    }
  } else {
    scale_ = options.alpha / static_cast<float>(options.rank);
    const auto layers = static_cast<int>(decoder.spec().layers.size());
    for (const auto& target : options.targets) {
      const auto end = adapter_tensor_end(target);
      for (const auto& [name, hook] : decoder.hooks()) {
        if (hook && name.ends_with(end) &&
            is_trained_name(name, layers, options.layers)) {
          add_adapter(name, *hook, options.rank);
          hooks_.push_back(hook);
        }
      }
    }
    std::uint64_t state = options.seed;
    for (std::size_t i = 0; i < values_.size(); i += 2) {
      const float bound = 1 / std::sqrt(static_cast<float>(shapes_[i].cols));
      for (float& value : values_[i]) {
        value = bound * uniform(state);
      }
    }
  }
  if (values_.empty()) {
    fail<UserError>(
        "There is nothing to train",
        full_ ? "None of the weights is left over"
              : "None of the targets is in this model",
        "Name other --targets, or more --layers");
  }
  place(arrays());
}

void Parameters::add(const std::string& name, TrainedShape shape) {
  names_.push_back(name);
  shapes_.push_back(shape);
  values_.emplace_back(shape.size(), 0.0f);
}

void Parameters::add_adapter(
    const std::string& name,
    GraphHook& hook,
    int rank) {
  const auto r = static_cast<std::size_t>(rank);
  add(name + ".lora_a", {r, static_cast<std::size_t>(hook.cols)});
  add(name + ".lora_b", {static_cast<std::size_t>(hook.rows), r});
}

std::size_t Parameters::total_values() const {
  std::size_t sum = 0;
  for (const auto& each : values_) {
    sum += each.size();
  }
  return sum;
}

std::vector<std::span<float>> Parameters::values() {
  return {values_.begin(), values_.end()};
}

std::vector<mx::array> Parameters::arrays() const {
  std::vector<mx::array> out;
  for (std::size_t i = 0; i < values_.size(); ++i) {
    auto shape = array_shape(shapes_[i]);
    if (!full_) {
      shape = {
          static_cast<int>(shapes_[i].rows),
          static_cast<int>(shapes_[i].cols)};
    }
    out.emplace_back(
        const_cast<float*>(values_[i].data()),
        std::move(shape),
        mx::float32,
        [](void*) {});
  }
  return out;
}

void Parameters::place(const std::vector<mx::array>& arrays) const {
  for (std::size_t i = 0; i < hooks_.size(); ++i) {
    if (full_) {
      hooks_[i]->trained = arrays[i];
    } else {
      hooks_[i]->additions = {
          {arrays[2 * i],
           arrays[2 * i + 1],
           scale_,
           dropout_,
           dropout_seed_ + (static_cast<std::uint64_t>(i) << 40)}};
    }
  }
}

void Parameters::remove() const {
  for (const auto& hook : hooks_) {
    if (!full_) {
      hook->additions.clear();
    }
  }
}

void Parameters::set_dropout(float share, std::uint64_t seed) {
  dropout_ = share;
  dropout_seed_ = seed;
}

Adapter Parameters::adapter(const TrainOptions& options) const {
  Adapter adapter;
  adapter.rank = options.rank;
  adapter.scale = scale_;
  adapter.dropout = options.dropout;
  const auto all = arrays();
  for (std::size_t i = 0; i < hooks_.size(); ++i) {
    const auto& name = names_[2 * i];
    adapter.matrices.push_back(
        {name.substr(0, name.size() - std::string_view(".lora_a").size()),
         all[2 * i],
         all[2 * i + 1]});
  }
  return adapter;
}

}  // namespace roofline
