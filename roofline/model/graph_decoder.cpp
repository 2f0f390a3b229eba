#include "roofline/model/graph_decoder.h"

#include <algorithm>
#include <utility>
#include <variant>

#include <fmt/format.h>
#include <mlx/memory.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include "roofline/base/errors.h"
#include "roofline/base/memory.h"
#include "roofline/model/graph_decoder_class.h"
#include "roofline/model/step_memory.h"

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

/// Hands layers over in lots, at most two of which aren't computed yet.
class Lots {
 public:
  /// Counts a layer's results; whether they make this lot full.
  bool full_with(double bytes) {
    bytes_ += bytes;
    return bytes_ >= kLotBytes;
  }
  void hand_over(std::vector<mx::array> made) {
    bytes_ = 0;
    mx::async_eval(made);
    mx::eval(std::exchange(under_way_, std::move(made)));
  }

 private:
  double bytes_ = 0;
  std::vector<mx::array> under_way_;
};

GraphLoadOptions to_answer(const ModelOptions& options, mx::Device device) {
  GraphLoadOptions load{options.exact, {}, options.kv, {}};
  load.weights.quantize = options.quantize;
  load.weights.keep_scales = options.exact;
  if (device == mx::Device::cpu) {
    load.weights.cpu_kernels =
        options.exact ? LinearMode::exact : LinearMode::fast;
    // What was asked for as MLX's ops is what the kernels are compared with.
    load.attention =
        options.graph_on_cpu ? AttentionBy::ops : AttentionBy::kernels;
  }
  return load;
}

}  // namespace

mx::array token_ids(std::span<const Slice> slices) {
  const auto array_of = [](const std::vector<std::int32_t>& ids) {
    return mx::array(ids.data(), {static_cast<int>(ids.size())});
  };
  std::vector<mx::array> parts;
  std::vector<std::int32_t> known;
  for (const auto& slice : slices) {
    if (!slice.drawn) {
      known.insert(known.end(), slice.tokens.begin(), slice.tokens.end());
      continue;
    }
    if (!known.empty()) {
      parts.push_back(array_of(std::exchange(known, {})));
    }
    parts.push_back(*slice.drawn);
  }
  if (parts.empty() || !known.empty()) {
    parts.push_back(array_of(known));
  }
  return parts.size() == 1 ? parts[0] : mx::concatenate(parts, 0);
}

GraphDecoder::GraphDecoder(
    const Checkpoint& checkpoint,
    GraphLoadOptions options,
    mx::Device device)
    : spec_(checkpoint.spec()),
      device_(device),
      exact_(options.exact),
      kv_(options.kv),
      types_(pick_types(checkpoint, options)),
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
  } else {
    // What matrices took before they were packed.
    mx::clear_cache();
    release_freed_memory();
  }
}

GraphTypes GraphDecoder::pick_types(
    const Checkpoint& checkpoint,
    const GraphLoadOptions& options) const {
  GraphTypes types;
  types.attention = options.attention;
  types.fuse = device_ == mx::Device::gpu;
  if (!exact_ && device_ == mx::Device::gpu) {
    types.activations = options.activations.value_or(stored_dtype(checkpoint));
    // f16 ends at 65504, which the residual stream of some models passes.
    types.residual =
        types.activations == mx::float16 ? mx::float32 : types.activations;
  }
  return types;
}

std::string GraphDecoder::device_name() const {
  return name_of(device_);
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
    if (slice.cache == nullptr || slice.tokens.empty() ||
        (slice.drawn && slice.tokens.size() != 1)) {
      fail<BugError>(
          "decoder: a slice without a cache or without tokens",
          "Each slice appends at least one token to its cache, and just one "
          "where the device drew it",
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
    std::vector<GraphSequence>& sequences,
    EvalLayers eval) {
  auto x = embed(tokens, sequences);
  std::optional<mx::array> own_inputs;
  if (per_layer_) {
    own_inputs = per_layer_->forward(tokens, x);
  }
  if (streams_) {
    x = streams_->split(x);
  }
  Lots lots;
  const bool decodes = multiplies_densely(tokens.shape(0));
  const int width = spec_.per_layer_embedding.value_or(0);
  for (int i = 0; i < static_cast<int>(layers_.size()); ++i) {
    std::optional<mx::array> own_input;
    if (own_inputs) {
      own_input = columns(*own_inputs, i * width, width);
    }
    x = layers_[i].forward(x, own_input, sequences);
    if (eval == EvalLayers::one_by_one) {
      mx::eval(made_by_layer(i, x, sequences));
    } else if (
        eval == EvalLayers::in_lots &&
        lots.full_with(
            graph_layer_bytes(spec_, spec_.layers[i], kLotTokens, decodes))) {
      lots.hand_over(made_by_layer(i, x, sequences));
    }
  }
  return streams_ ? streams_->join(x) : x;
}

/// What layer `index` gave, and what it keeps.
std::vector<mx::array> GraphDecoder::made_by_layer(
    int index,
    const mx::array& x,
    const std::vector<GraphSequence>& sequences) const {
  std::vector<mx::array> made = {x};
  if (spec_.layers[index].recurrent) {
    for (const auto& sequence : sequences) {
      const auto& state = sequence.cache->recurrent(index);
      made.push_back(state.conv_inputs);
      made.push_back(state.memory);
    }
  }
  return made;
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
  // MLX gives the results of a hundred ops memory before the CPU gets to them.
  const bool decodes = multiplies_densely(begin);
  const auto eval = begin < kFewestBounded           ? EvalLayers::together
                    : device_ == mx::Device::cpu     ? EvalLayers::one_by_one
                    : in_lots(spec_, begin, decodes) ? EvalLayers::in_lots
                                                     : EvalLayers::together;
  const auto x = run_layers(token_ids(slices), sequences, eval);
  return with_states(logits(pick_rows(x, slices)), slices);
}

std::size_t GraphDecoder::step_weight_bytes(bool) const {
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

std::unique_ptr<TrainableDecoder> load_graph_decoder(
    const Checkpoint& checkpoint,
    const ModelOptions& options,
    mx::Device device) {
  return std::make_unique<GraphDecoder>(
      checkpoint,
      to_answer(options, device),
      device);
}

}  // namespace roofline
