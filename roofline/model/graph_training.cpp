// The half of GraphDecoder that training asks for: samples side by side, layers
// that are computed again, and the head's parts.
#include <algorithm>
#include <memory>

#include <fmt/format.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include "roofline/base/errors.h"
#include "roofline/model/device.h"
#include "roofline/model/graph_decoder_class.h"

namespace roofline {

namespace {

GraphLoadOptions to_train(const TrainableOptions& options, mx::Device device) {
  const bool half = device == mx::Device::gpu && options.half_activations;
  GraphLoadOptions load{!half, {}, {}, {}};
  if (half) {
    load.activations = mx::bfloat16;  // gradients overrun what f16 can hold
  }
  load.weights.quantize = options.quantize;
  load.weights.trained = options.trained;
  load.weights.codes = options.codes;
  if (device == mx::Device::cpu && !options.graph_on_cpu) {
    load.weights.cpu_kernels = options.products;
  }
  return load;
}

}  // namespace

/// Whether packed attention does for all layers.
bool GraphDecoder::can_pack() const {
  const bool plain = std::all_of(
      spec_.layers.begin(),
      spec_.layers.end(),
      [](const LayerSpec& layer) {
        return layer.attention && !layer.recurrent &&
               PackedSamples::can(*layer.attention);
      });
  return plain && weights_.own_kernels() && !positions_;
}

/// The samples as one packed sequence, or each with a cache of its own for the
/// one step: what attention over a cache computes can be differentiated too.
struct GraphDecoder::Samples {
  std::vector<std::unique_ptr<KvCache>> caches;
  std::vector<GraphSequence> sequences;
  std::vector<Slice> slices;
};

GraphDecoder::Samples GraphDecoder::open_samples(
    std::span<const std::int32_t> ids,
    std::span<const int> first) const {
  Samples samples;
  if (can_pack()) {
    const auto tokens = static_cast<int>(ids.size());
    samples.slices.push_back({nullptr, ids, LogitRows::all});
    samples.sequences.push_back(
        {nullptr,
         0,
         tokens,
         0,
         tokens,
         SlotMasks(0, tokens),
         std::make_shared<const PackedSamples>(first)});
    return samples;
  }
  for (std::size_t i = 0; i + 1 < first.size(); ++i) {
    const int begin = first[i];
    const int tokens = first[i + 1] - begin;
    // A sample is one step, however long.
    KvOptions whole;
    whole.max_chunk = std::max(whole.max_chunk, tokens);
    samples.caches.push_back(make_cache(whole));
    auto* cache = samples.caches.back().get();
    samples.slices.push_back(
        {cache,
         ids.subspan(
             static_cast<std::size_t>(begin),
             static_cast<std::size_t>(tokens)),
         LogitRows::all});
    cache->reserve(tokens);
    samples.sequences.push_back(
        {cache, begin, tokens, 0, tokens, SlotMasks(0, tokens)});
  }
  return samples;
}

bool can_run_layers_again(const ModelSpec& spec) {
  const bool shared = std::any_of(
      spec.layers.begin(),
      spec.layers.end(),
      [](const LayerSpec& layer) {
        return layer.attention && layer.attention->shares_kv_of_layer;
      });
  return !shared && !spec.per_layer_embedding && !spec.streams;
}

/// Throws where a layer is more than a function of its input alone.
void GraphDecoder::check_again() const {
  if (can_run_layers_again(spec_)) {
    return;
  }
  fail<UnsupportedError>(
      "The layers of this model can't be computed again one by one",
      "They share keys and values, streams or embeddings of their own",
      "Train without checkpoint_layers.");
}

mx::array GraphDecoder::hidden(const TrainBatch& batch, KeepLayers keep) {
  auto samples = open_samples(batch.ids, batch.first);
  check_ids(batch.ids);
  const auto normed = [&](const mx::array& x) {
    return mx::astype(final_norm_(x, types_.activations), mx::float32);
  };
  const auto tokens = token_ids(samples.slices);
  if (keep == KeepLayers::all) {
    return normed(run_layers(tokens, samples.sequences));
  }
  check_again();
  auto x = embed(tokens, samples.sequences);
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    x = layer_again(i, x, batch);
  }
  return normed(x);
}

namespace {

std::vector<GraphHookPtr> hooks_of_layer(
    const GraphHooks& hooks,
    std::size_t index) {
  const auto prefix = fmt::format("layers.{}.", index);
  std::vector<GraphHookPtr> out;
  for (const auto& [name, hook] : hooks) {
    if (name.starts_with(prefix)) {
      out.push_back(hook);
    }
  }
  return out;
}

std::vector<mx::array> values_at(const std::vector<mx::array*>& places) {
  std::vector<mx::array> values;
  for (const auto* place : places) {
    values.push_back(*place);
  }
  return values;
}

}  // namespace

/// A layer that keeps its input alone. What it is differentiated by must be
/// its arguments: the hooks hold those while its graph is built.
mx::array GraphDecoder::layer_again(
    std::size_t index,
    const mx::array& x,
    const TrainBatch& batch) {
  const auto places = trained_arrays(hooks_of_layer(weights_.hooks(), index));
  auto inputs = values_at(places);
  inputs.insert(inputs.begin(), x);
  const auto run = [this,
                    index,
                    places,
                    ids = std::vector(batch.ids.begin(), batch.ids.end()),
                    first =
                        std::vector(batch.first.begin(), batch.first.end())](
                       const std::vector<mx::array>& in) {
    const SwappedArrays swapped(places, std::span(in).subspan(1));
    auto samples = open_samples(ids, first);
    return std::vector<mx::array>{
        layers_[index].forward(in[0], std::nullopt, samples.sequences)};
  };
  return mx::checkpoint(run)(inputs)[0];
}

TokenHead GraphDecoder::token_head() const {
  const auto& matrix = head_ ? *head_ : embed_;
  TokenHead head;
  head.logit_scale = spec_.logit_scale;
  head.logit_softcap = spec_.logit_softcap;
  if (matrix.bias || head_bias_) {
    const auto& hooks = matrix.bias_hooks;
    head.bias_is_trained =
        !head_bias_ && !hooks.empty() && hooks[0] && hooks[0]->trained;
    auto bias = head_bias_             ? *head_bias_
                : head.bias_is_trained ? *hooks[0]->trained
                                       : mx::astype(*matrix.bias, mx::float32);
    if (!head.bias_is_trained) {
      bias.eval();
    }
    head.bias = bias;
  }
  if (is_trained(matrix.hooks)) {
    head.trained = trained_weight(*matrix.hooks[0]);
  }
  if (!weights_.own_kernels()) {
    auto hooks = matrix.hooks;
    hooks.insert(
        hooks.end(),
        matrix.bias_hooks.begin(),
        matrix.bias_hooks.end());
    const auto places = trained_arrays(hooks);
    head.parameters = values_at(places);
    head.logits = [this, places](
                      const mx::array& rows,
                      const std::vector<mx::array>& values) {
      const SwappedArrays swapped(places, values);
      return head_logits(mx::astype(rows, types_.activations));
    };
  }
  if (head.trained || head.logits) {
    return head;
  }
  const auto& part = matrix.parts[0];
  if (!part.cpu) {
    fail<UnsupportedError>(
        "The model's head can't be read by the kernels of training",
        "It is in a quantized form that they lack",
        "Train a checkpoint of floats, or one of 4 or 8 bits");
  }
  head.products =
      part.cpu->mode == LinearMode::bf16 ? GemmType::bf16 : GemmType::f32;
  head.matrix = part.cpu->matrix;
  head.memory = part.cpu->memory;
  return head;
}

std::unique_ptr<TrainableDecoder> load_trainable(
    const Checkpoint& checkpoint,
    const TrainableOptions& options) {
  for (const auto& layer : checkpoint.spec().layers) {
    if (!layer.feed_forward || !layer.feed_forward->mixture) {
      continue;
    }
    if (options.trained && !options.codes) {
      fail<UnsupportedError>(
          "The experts of a mixture can't be trained themselves",
          "Their matrices are constants to gradients here",
          "Train adapters: --method lora");
    }
  }
  ModelOptions model;
  model.device = options.device;
  model.graph_on_cpu = options.graph_on_cpu;
  const auto device = prepare_device(model);
  require_runnable(checkpoint.spec());
  return std::make_unique<GraphDecoder>(
      checkpoint,
      to_train(options, device),
      device);
}

}  // namespace roofline
