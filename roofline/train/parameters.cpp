#include "roofline/train/parameters.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

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
    : decoder_(decoder),
      full_(options.method == AdaptMethod::full),
      magnitudes_(options.method == AdaptMethod::dora) {
  const auto layers = static_cast<int>(decoder.spec().layers.size());
  if (options.layers > layers) {
    fail<UserError>(
        fmt::format("The last {} layers can't be trained", options.layers),
        fmt::format("The model has {}", layers),
        "Give --layers no more, or 0 for all");
  }
  if (full_) {
    take_over();
  } else {
    scale_ = options.alpha / static_cast<float>(options.rank);
    add_adapters(options);
  }
  if (arrays_.empty()) {
    fail<UserError>(
        "There is nothing to train",
        full_ ? "None of the weights is left over"
              : "None of the targets is in this model",
        "Name other --targets, or more --layers");
  }
  place(arrays_);
}

/// The hooks' own weights.
void Parameters::take_over() {
  for (const auto& [name, hook] : decoder_.hooks()) {
    if (hook && hook->trained) {
      hooks_.push_back(hook);
      add(name,
          {static_cast<std::size_t>(hook->rows),
           static_cast<std::size_t>(hook->cols)},
          *hook->trained);
      hook->trained = mx::array(0.0f);  // the memory is here alone
    }
  }
}

void Parameters::add_adapters(const TrainOptions& options) {
  const auto layers = static_cast<int>(decoder_.spec().layers.size());
  std::uint64_t state = options.seed;
  for (const auto& target : options.targets) {
    const auto end = adapter_tensor_end(target);
    for (const auto& [name, hook] : decoder_.hooks()) {
      if (hook && name.ends_with(end) &&
          is_trained_name(name, layers, options.layers)) {
        if (hook->reshaped && options.dropout > 0) {
          fail<UnsupportedError>(
              fmt::format("Dropout can't be had with {}", target),
              "Its matrix is folded into queries and values, so that it has "
              "no inputs of its own",
              fmt::format("Leave out --dropout, or {} of --targets", target));
        }
        add_adapter(name, *hook, options.rank, state);
        hooks_.push_back(hook);
      }
    }
  }
}

void Parameters::add(
    const std::string& name,
    TrainedShape shape,
    mx::array start) {
  names_.push_back(name);
  shapes_.push_back(shape);
  start = mx::contiguous(start);
  start.eval();
  arrays_.push_back(std::move(start));
}

void Parameters::add_adapter(
    const std::string& name,
    const GraphHook& hook,
    int rank,
    std::uint64_t& state) {
  const auto r = static_cast<std::size_t>(rank);
  const auto cols = static_cast<std::size_t>(hook.cols);
  const auto rows = static_cast<std::size_t>(hook.rows);
  const float bound = 1 / std::sqrt(static_cast<float>(cols));
  std::vector<float> a(r * cols);
  for (float& value : a) {
    value = bound * uniform(state);
  }
  add(name + ".lora_a", {r, cols}, mx::array(a.data(), {rank, hook.cols}));
  const std::vector<float> zeros(rows * r);
  add(name + ".lora_b", {rows, r}, mx::array(zeros.data(), {hook.rows, rank}));
  if (magnitudes_) {
    add(name + ".m", {1, rows}, mx::sqrt(hook.stored.squares()));
  }
}

std::size_t Parameters::total_values() const {
  std::size_t sum = 0;
  for (const auto& shape : shapes_) {
    sum += shape.size();
  }
  return sum;
}

std::vector<std::vector<int>> Parameters::way_back() const {
  const auto layers = static_cast<int>(decoder_.spec().layers.size());
  // A tied head's gradient has the embedding's part, which comes last.
  const auto place = [&](const std::string& name) {
    const int layer = layer_of(name);
    const bool after = name.starts_with("head") || name.starts_with("final");
    return layer >= 0 ? layers - layer : after ? 0 : layers + 1;
  };
  std::map<int, std::vector<int>> parts;
  for (std::size_t i = 0; i < names_.size(); ++i) {
    parts[place(names_[i])].push_back(static_cast<int>(i));
  }
  std::vector<std::vector<int>> out;
  for (auto& [at, part] : parts) {
    out.push_back(std::move(part));
  }
  return out;
}

std::vector<std::span<float>> Parameters::values() {
  std::vector<std::span<float>> out;
  for (auto& array : arrays_) {
    out.emplace_back(array.data<float>(), array.size());
  }
  return out;
}

void Parameters::place(const std::vector<mx::array>& arrays) const {
  for (std::size_t i = 0; i < hooks_.size(); ++i) {
    if (full_) {
      hooks_[i]->trained = arrays[i];
    } else {
      LowRankAddition addition{
          arrays[each() * i],
          arrays[each() * i + 1],
          scale_,
          dropout_,
          dropout_seed_ + (static_cast<std::uint64_t>(i) << 40)};
      if (magnitudes_) {
        addition.magnitude = arrays[each() * i + 2];
      }
      hooks_[i]->additions = {addition};
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
  const auto& all = arrays_;
  for (std::size_t i = 0; i < hooks_.size(); ++i) {
    const auto first = each() * i;
    const auto& name = names_[first];
    adapter.matrices.push_back(
        {name.substr(0, name.size() - std::string_view(".lora_a").size()),
         all[first],
         all[first + 1]});
    if (magnitudes_) {
      adapter.matrices.back().magnitude = all[first + 2];
    }
  }
  return adapter;
}

}  // namespace roofline
