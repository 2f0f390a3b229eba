#include "roofline/quantize/layered_model.h"

#include <algorithm>
#include <array>
#include <memory>
#include <numeric>

#include <fmt/format.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include "roofline/base/errors.h"
#include "roofline/kernels/linear.h"
#include "roofline/model/graph_head.h"
#include "roofline/model/packed_samples.h"
#include "roofline/weights/encodings.h"

namespace roofline {

namespace {

GraphWeightOptions exact_options(const LinearObserver& observe) {
  GraphWeightOptions options;
  if (mx::default_device() == mx::Device::cpu) {
    options.cpu_kernels = LinearMode::exact;
    options.keep_scales = true;
  }
  options.observe = observe;
  return options;
}

/// Rows that are looked up, and no others: a large vocabulary isn't decoded.
mx::array rows_of(const Tensor& tensor, std::span<const std::int32_t> ids) {
  const auto cols = static_cast<std::size_t>(tensor.cols);
  std::vector<float> values(ids.size() * cols);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    decode_row(tensor, ids[i], std::span(values).subspan(i * cols, cols));
  }
  return mx::array(
      values.data(),
      {static_cast<int>(ids.size()), static_cast<int>(cols)});
}

}  // namespace

LayeredModel::LayeredModel(const ModelSpec& spec) : spec_(spec) {
  for (const LayerSpec& layer : spec.layers) {
    if (layer.attention && layer.attention->shares_kv_of_layer) {
      shared_.insert(*layer.attention->shares_kv_of_layer);
    }
  }
  // Attention of training's kernels: MLX's own products of float32 on a CPU run
  // on one thread.
  packs_ = mx::default_device() == mx::Device::cpu &&
           std::all_of(
               spec.layers.begin(),
               spec.layers.end(),
               [](const LayerSpec& layer) {
                 return layer.attention && !layer.recurrent &&
                        PackedSamples::can(*layer.attention);
               });
}

GraphLayer LayeredModel::layer(
    const Checkpoint& checkpoint,
    int index,
    const LinearObserver& observe,
    const ExpertObserver& observe_experts) const {
  GraphWeightOptions options = exact_options(observe);
  options.observe_experts = observe_experts;
  const GraphWeights weights(checkpoint, options);
  return GraphLayer(spec_, index, weights, GraphTypes{});
}

LayeredModel::Start::Start(const ModelSpec& spec, const Checkpoint& checkpoint)
    : spec_(spec), checkpoint_(checkpoint) {
  const GraphWeights weights(checkpoint, exact_options({}));
  if (spec.per_layer_embedding) {
    per_layer_.emplace(spec, weights, GraphTypes{});
  }
  if (spec.streams) {
    streams_.emplace(spec, weights, GraphTypes{});
  }
}

LayeredWindow LayeredModel::Start::embed(
    std::span<const std::int32_t> ids) const {
  const Tensor& table = checkpoint_.at("embed");
  auto rows = rows_of(table, ids);
  // A page in memory for each row, and those around it, would soon be all.
  checkpoint_.release(table);
  return embed_rows(ids, std::move(rows));
}

LayeredWindow LayeredModel::Start::embed_rows(
    std::span<const std::int32_t> ids,
    mx::array x) const {
  const int tokens = x.shape(0);
  if (spec_.embedding_scale != 1.0f) {
    x = mx::multiply(x, mx::array(spec_.embedding_scale));
  }
  if (spec_.learned_positions) {
    if (tokens > *spec_.learned_positions) {
      fail<UserError>(
          fmt::format("A window of {} tokens is too long", tokens),
          fmt::format(
              "The model has learnt {} positions",
              *spec_.learned_positions),
          "Give a smaller --window");
    }
    std::vector<std::int32_t> positions(static_cast<std::size_t>(tokens));
    std::iota(positions.begin(), positions.end(), 0);
    x = mx::add(x, rows_of(checkpoint_.at("positions"), positions));
  }
  LayeredWindow window{x};
  if (per_layer_) {
    window.own_inputs = per_layer_->forward(mx::array(ids.data(), {tokens}), x);
    mx::eval(*window.own_inputs);
  }
  if (streams_) {
    window.x = streams_->split(x);
  }
  mx::eval(window.x);
  return window;
}

LayeredWindow LayeredModel::run(
    GraphLayer& layer,
    int index,
    const LayeredWindow& window) {
  const int tokens = window.tokens();
  LayeredWindow out = window;
  std::optional<mx::array> own_input;
  if (window.own_inputs) {
    const int width = *spec_.per_layer_embedding;
    own_input = columns(*window.own_inputs, index * width, width);
  }
  std::vector<GraphSequence> sequences;
  if (packs_) {
    const std::array first{0, tokens};
    sequences.push_back(
        {nullptr,
         0,
         tokens,
         0,
         tokens,
         SlotMasks(0, tokens),
         std::make_shared<const PackedSamples>(first)});
    out.x = layer.forward(window.x, own_input, sequences);
    return out;
  }
  if (!cache_ || cache_->options().max_chunk < tokens) {
    KvOptions options;
    options.max_chunk = tokens;
    options.dtype = mx::float32;
    cache_.emplace(spec_, options);
  }
  cache_->clear();
  cache_->reserve(tokens);
  for (const auto& [earlier, held] : window.shared) {
    cache_->keys(earlier) = held.keys;
    cache_->values(earlier) = held.values;
  }
  sequences.push_back({&*cache_, 0, tokens, 0, tokens, SlotMasks(0, tokens)});
  out.x = layer.forward(window.x, own_input, sequences);
  if (shared_.contains(index)) {
    out.shared.insert_or_assign(
        index,
        LayeredWindow::KeysAndValues{
            cache_->keys(index),
            cache_->values(index)});
  }
  return out;
}

LayeredModel::Head::Head(const ModelSpec& spec, const Checkpoint& checkpoint)
    : spec_(spec),
      checkpoint_(checkpoint),
      norm_(
          spec.final_norm,
          GraphWeights(checkpoint, exact_options({})),
          "final_norm",
          mx::float32) {
  bias_ = GraphWeights(checkpoint, {}).vector("head.bias");
  if (spec.streams) {
    const GraphWeights weights(checkpoint, exact_options({}));
    streams_.emplace(spec, weights, GraphTypes{});
  }
}

mx::array LayeredModel::Head::normed(const mx::array& x) const {
  return norm_(streams_ ? streams_->join(x) : x, mx::float32);
}

mx::array LayeredModel::Head::logits(const mx::array& x) const {
  if (!matrix_) {
    matrix_ = GraphWeights(checkpoint_, exact_options({})).matrix(name());
  }
  auto y = linear(normed(x), *matrix_);
  if (bias_ && spec_.tied_embeddings) {
    y = mx::add(y, *bias_);
  }
  return scaled_logits(y, spec_);
}

mx::array LayeredModel::Head::logits_of_rows(
    const mx::array& normed,
    std::shared_ptr<const FloatMatrix> rows,
    int first) const {
  Tensor tensor;
  tensor.name = name();
  tensor.encoding = Encoding::f32;
  tensor.rows = rows->rows;
  tensor.cols = rows->cols;
  tensor.bytes = std::as_bytes(std::span(rows->values));
  const int end = first + rows->rows;
  auto y = linear(
      normed,
      dense_view(tensor),
      std::move(rows),
      LinearMode::exact,
      mx::Device(mx::Device::cpu));
  if (bias_) {
    y = mx::add(y, mx::slice(*bias_, {first}, {end}));
  }
  return scaled_logits(y, spec_);
}

}  // namespace roofline
