#include "roofline/model/graph_decoder.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <variant>

#include <fmt/format.h>
#include <mlx/compile.h>
#include <mlx/fast.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include "roofline/base/errors.h"
#include "roofline/model/device.h"
#include "roofline/model/graph_attention.h"
#include "roofline/model/graph_head.h"
#include "roofline/model/graph_layer.h"
#include "roofline/model/graph_weights.h"

namespace roofline {

namespace {

std::string name_of(mx::Device device) {
  if (device == mx::Device::cpu) {
    return "CPU, MLX ops";
  }
  const auto& info = mx::device_info(device);
  const auto found = info.find("device_name");
  const auto* name =
      found == info.end() ? nullptr : std::get_if<std::string>(&found->second);
  return fmt::format("GPU, {}", name == nullptr ? "unnamed" : *name);
}

/// All that loading depends on, for answering and for training.
struct LoadOptions {
  bool exact = false;
  GraphWeightOptions weights;
  KvFormat kv = {};
  std::optional<mx::Dtype> activations = {};  ///< of a GPU; absent: as stored
};

LoadOptions to_answer(const ModelOptions& options, mx::Device device) {
  LoadOptions load{options.exact, {}, options.kv, {}};
  load.weights.quantize = options.quantize;
  load.weights.keep_scales = options.exact;
  if (device == mx::Device::cpu) {
    load.weights.cpu_kernels =
        options.exact ? LinearMode::exact : LinearMode::fast;
  }
  return load;
}

mx::array token_ids(std::span<const Slice> slices) {
  std::vector<std::int32_t> ids;
  for (const auto& slice : slices) {
    ids.insert(ids.end(), slice.tokens.begin(), slice.tokens.end());
  }
  return mx::array(ids.data(), {static_cast<int>(ids.size())});
}

LoadOptions to_train(const TrainableOptions& options, mx::Device device) {
  const bool half = device == mx::Device::gpu && options.half_activations;
  LoadOptions load{!half, {}, {}, {}};
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

class GraphDecoder final : public TrainableDecoder {
 public:
  GraphDecoder(
      const Checkpoint& checkpoint,
      LoadOptions options,
      mx::Device device);

  const ModelSpec& spec() const override { return spec_; }
  std::string device_name() const override { return name_of(device_); }
  std::unique_ptr<KvCache> make_cache(const KvOptions& options) const override;
  mx::array forward(std::span<const Slice> slices, std::int64_t context_tokens)
      override;
  std::size_t step_weight_bytes() const override;
  mx::array hidden(const TrainBatch& batch, KeepLayers keep) override;
  TokenHead token_head() const override;
  const GraphHooks& hooks() const override { return weights_.hooks(); }

 private:
  struct Samples;
  bool can_pack() const;
  void check_ids(std::span<const std::int32_t> ids) const;
  Samples open_samples(
      std::span<const std::int32_t> ids,
      std::span<const int> first) const;
  mx::array layer_again(
      std::size_t index,
      const mx::array& x,
      const TrainBatch& batch);
  GraphTypes pick_types(
      const Checkpoint& checkpoint,
      std::optional<mx::Dtype> activations) const;
  void check(std::span<const Slice> slices) const;
  mx::array embed(
      const mx::array& tokens,
      const std::vector<GraphSequence>& sequences) const;
  mx::array embed_positions(const std::vector<GraphSequence>& sequences) const;
  mx::array run_layers(
      const mx::array& tokens,
      std::vector<GraphSequence>& sequences);
  mx::array pick_rows(const mx::array& x, std::span<const Slice> slices) const;
  mx::array head_logits(const mx::array& rows) const;
  mx::array logits(const mx::array& x) const;
  void check_again() const;
  mx::array with_states(const mx::array& logits, std::span<const Slice> slices)
      const;
  void warm_up();

  ModelSpec spec_;
  mx::Device device_;
  bool exact_;
  KvFormat kv_;
  GraphTypes types_;
  GraphWeights weights_;
  GraphMatrix embed_;
  std::optional<GraphMatrix> head_;     ///< absent: tied
  std::optional<mx::array> head_bias_;  ///< of a tied head; else in head_
  std::optional<GraphMatrix> positions_;
  std::optional<GraphPerLayerEmbedding> per_layer_;
  std::optional<GraphStreams> streams_;
  GraphNorm final_norm_;
  std::vector<GraphLayer> layers_;
};

GraphDecoder::GraphDecoder(
    const Checkpoint& checkpoint,
    LoadOptions options,
    mx::Device device)
    : spec_(checkpoint.spec()),
      device_(device),
      exact_(options.exact),
      kv_(options.kv),
      types_(pick_types(checkpoint, options.activations)),
      weights_(
          checkpoint,
          [&] {
            options.weights.activations = types_.activations;
            return options.weights;
          }()),
      embed_(weights_.matrix("embed")),
      final_norm_(spec_.final_norm, weights_, "final_norm", types_.residual) {
  if (!spec_.tied_embeddings) {
    head_ = weights_.matrix("head");
  } else if (spec_.head_bias) {
    head_bias_ = weights_.vector("head.bias");
  }
  if (spec_.learned_positions) {
    positions_ = weights_.matrix("positions");
  }
  if (spec_.per_layer_embedding) {
    per_layer_.emplace(spec_, weights_, types_);
  }
  if (spec_.streams) {
    streams_.emplace(spec_, weights_, types_);
  }
  for (int i = 0; i < static_cast<int>(spec_.layers.size()); ++i) {
    layers_.emplace_back(spec_, i, weights_, types_);
  }
  if (device_ == mx::Device::gpu) {
    warm_up();
  }
}

GraphTypes GraphDecoder::pick_types(
    const Checkpoint& checkpoint,
    std::optional<mx::Dtype> activations) const {
  GraphTypes types;
  types.fuse = device_ == mx::Device::gpu;
  if (!exact_ && device_ == mx::Device::gpu) {
    types.activations = activations.value_or(stored_dtype(checkpoint));
    // f16 ends at 65504, which the residual stream of some models passes.
    types.residual =
        types.activations == mx::float16 ? mx::float32 : types.activations;
  }
  return types;
}

std::unique_ptr<KvCache> GraphDecoder::make_cache(
    const KvOptions& options) const {
  auto wanted = options;
  wanted.dtype = exact_                               ? mx::float32
                 : types_.activations == mx::bfloat16 ? mx::bfloat16
                                                      : mx::float16;
  wanted.format = kv_;
  wanted.layout =
      device_ == mx::Device::gpu ? KvLayout::mlx : KvLayout::kernels;
  return std::make_unique<KvCache>(spec_, wanted);
}

void GraphDecoder::check_ids(std::span<const std::int32_t> ids) const {
  for (const auto id : ids) {
    if (id < 0 || id >= spec_.vocab) {
      fail<UserError>(
          fmt::format("There is no token {}", id),
          fmt::format("The vocabulary has {} tokens", spec_.vocab),
          fmt::format("Give ids from 0 to {}.", spec_.vocab - 1));
    }
  }
}

void GraphDecoder::check(std::span<const Slice> slices) const {
  for (const auto& slice : slices) {
    if (slice.cache == nullptr || slice.tokens.empty()) {
      fail<BugError>(
          "decoder: a slice without a cache or without tokens",
          "Each slice appends at least one token to its cache",
          "Leave empty slices out.");
    }
    check_ids(slice.tokens);
    const auto end = slice.cache->position() +
                     static_cast<std::int64_t>(slice.tokens.size());
    if (spec_.learned_positions && end > *spec_.learned_positions) {
      fail<UserError>(
          fmt::format("The sequence would have {} tokens", end),
          fmt::format(
              "The model has learnt {} positions",
              *spec_.learned_positions),
          "Give a shorter text.");
    }
  }
}

mx::array GraphDecoder::embed(
    const mx::array& tokens,
    const std::vector<GraphSequence>& sequences) const {
  auto x = take_rows(embed_, tokens, types_.residual);
  if (spec_.embedding_scale != 1.0f) {
    x = mx::multiply(x, mx::array(spec_.embedding_scale, x.dtype()));
  }
  return positions_ ? mx::add(x, embed_positions(sequences)) : x;
}

/// The learnt positions of a step's tokens: [tokens, dim].
mx::array GraphDecoder::embed_positions(
    const std::vector<GraphSequence>& sequences) const {
  std::vector<std::int32_t> positions;
  for (const auto& sequence : sequences) {
    for (int i = 0; i < sequence.tokens; ++i) {
      positions.push_back(static_cast<std::int32_t>(sequence.position) + i);
    }
  }
  const auto count = static_cast<int>(positions.size());
  return take_rows(
      *positions_,
      mx::array(positions.data(), {count}),
      types_.residual);
}

/// The rows of x [tokens, dim] whose logits are asked for.
mx::array GraphDecoder::pick_rows(
    const mx::array& x,
    std::span<const Slice> slices) const {
  std::vector<std::int32_t> rows;
  int begin = 0;
  for (const auto& slice : slices) {
    const auto end = begin + static_cast<int>(slice.tokens.size());
    for (int row = slice.rows == LogitRows::all ? begin : end - 1; row < end;
         ++row) {
      rows.push_back(row);
    }
    begin = end;
  }
  const auto count = static_cast<int>(rows.size());
  if (count == begin) {
    return x;
  }
  if (count == 1) {
    return mx::slice(x, {rows[0], 0}, {rows[0] + 1, x.shape(1)});
  }
  return mx::take(x, mx::array(rows.data(), {count}), 0);
}

/// The logits of normed rows, in float32.
mx::array GraphDecoder::head_logits(const mx::array& rows) const {
  auto y = mx::astype(linear(rows, head_ ? *head_ : embed_), mx::float32);
  if (head_bias_) {
    y = mx::add(y, *head_bias_);
  }
  return scaled_logits(y, spec_);
}

mx::array GraphDecoder::logits(const mx::array& x) const {
  return head_logits(final_norm_(x, types_.activations));
}

/// The residual stream [tokens, dim] after all layers.
mx::array GraphDecoder::run_layers(
    const mx::array& tokens,
    std::vector<GraphSequence>& sequences) {
  auto x = embed(tokens, sequences);
  std::optional<mx::array> own_inputs;
  if (per_layer_) {
    own_inputs = per_layer_->forward(tokens, x);
  }
  if (streams_) {
    x = streams_->split(x);
  }
  const int width = spec_.per_layer_embedding.value_or(0);
  for (int i = 0; i < static_cast<int>(layers_.size()); ++i) {
    std::optional<mx::array> own_input;
    if (own_inputs) {
      own_input = columns(*own_inputs, i * width, width);
    }
    x = layers_[i].forward(x, own_input, sequences);
  }
  return streams_ ? streams_->join(x) : x;
}

/// The same logits, with which the states of recurrent layers are evaluated:
/// they would hold on to the step's activations.
mx::array GraphDecoder::with_states(
    const mx::array& logits,
    std::span<const Slice> slices) const {
  std::vector<mx::array> states;
  for (int i = 0; i < static_cast<int>(spec_.layers.size()); ++i) {
    for (const auto& slice : slices) {
      if (spec_.layers[i].recurrent) {
        const auto& state = slice.cache->recurrent(i);
        states.push_back(state.conv_inputs);
        states.push_back(state.memory);
      }
    }
  }
  return states.empty() ? logits : mx::depends({logits}, states)[0];
}

mx::array GraphDecoder::forward(
    std::span<const Slice> slices,
    std::int64_t context_tokens) {
  check(slices);
  std::vector<GraphSequence> sequences;
  int begin = 0;
  for (const auto& slice : slices) {
    const auto tokens = static_cast<int>(slice.tokens.size());
    const auto position = slice.cache->position();
    slice.cache->reserve(tokens);
    sequences.push_back(
        {slice.cache,
         begin,
         tokens,
         position,
         std::max(context_tokens, position + tokens),
         SlotMasks(position, tokens)});
    begin += tokens;
  }
  const auto x = run_layers(token_ids(slices), sequences);
  return with_states(logits(pick_rows(x, slices)), slices);
}

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

/// Throws where a layer is more than a function of its input alone.
void GraphDecoder::check_again() const {
  const bool shared = std::any_of(
      spec_.layers.begin(),
      spec_.layers.end(),
      [](const LayerSpec& layer) {
        return layer.attention && layer.attention->shares_kv_of_layer;
      });
  if (!shared && !per_layer_ && !streams_) {
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

std::size_t GraphDecoder::step_weight_bytes() const {
  std::size_t sum = (head_ ? *head_ : embed_).bytes() + final_norm_.bytes();
  sum += per_layer_ ? per_layer_->weight_bytes() : 0;
  sum += streams_ ? streams_->weight_bytes() : 0;
  for (const auto& layer : layers_) {
    sum += layer.weight_bytes();
  }
  return sum;
}

/// Compiles the kernels of a long prompt, of a short one and of a decode step:
/// products of many, few and one row are different kernels.
void GraphDecoder::warm_up() {
  constexpr int kLongest = 64;
  const std::vector<std::int32_t> tokens(
      std::min(kLongest, spec_.learned_positions.value_or(kLongest)),
      0);
  auto cache = make_cache({});
  for (const auto wanted : {tokens.size(), std::size_t{8}, std::size_t{1}}) {
    cache->clear();
    const auto count = std::min(wanted, tokens.size());
    const Slice slice{
        cache.get(),
        std::span(tokens).first(count),
        LogitRows::last};
    mx::eval(forward({&slice, 1}, 0));
  }
}

}  // namespace

std::unique_ptr<TrainableDecoder> load_graph_decoder(
    const Checkpoint& checkpoint,
    const ModelOptions& options,
    mx::Device device) {
  return std::make_unique<GraphDecoder>(
      checkpoint,
      to_answer(options, device),
      device);
}

std::unique_ptr<TrainableDecoder> load_trainable(
    const Checkpoint& checkpoint,
    const TrainableOptions& options) {
  for (const auto& layer : checkpoint.spec().layers) {
    if (!layer.feed_forward || !layer.feed_forward->mixture) {
      continue;
    }
    if (options.trained) {
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
