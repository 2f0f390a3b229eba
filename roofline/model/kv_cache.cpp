#include "roofline/model/kv_cache.h"

#include <algorithm>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <mlx/transforms.h>

#include "roofline/base/errors.h"
#include "roofline/model/kv_memory.h"
#include "roofline/model/kv_placement.h"

namespace roofline {

namespace {

/// Heads and dims of what a layer keeps of each position. Latent attention
/// keeps one array, among the keys.
struct Kept {
  int heads = 0;
  int key_dim = 0;
  int value_dim = 0;
};

Kept kept_of(const AttentionSpec& attention) {
  if (attention.shares_kv_of_layer) {
    return {0, attention.head_dim, attention.head_dim};
  }
  if (attention.latent) {
    return {1, attention.latent->kv_rank + attention.latent->rope_dim, 0};
  }
  return {
      attention.kv_heads,
      attention.head_dim,
      attention.value_dim.value_or(attention.head_dim)};
}

void check(const KvOptions& options) {
  if (options.max_chunk < 1) {
    fail<UserError>(
        fmt::format("The longest chunk is {} tokens", options.max_chunk),
        "A step appends at least one token",
        "Give a chunk of at least 1.");
  }
  if (!options.max_tokens) {
    return;
  }
  const int keep = kept_tokens(options);
  if (options.keep_tokens < 0 || *options.max_tokens <= keep) {
    fail<UserError>(
        fmt::format(
            "A cache of {} tokens can't keep the first {}",
            *options.max_tokens,
            keep),
        "Some room must be left for the latest tokens",
        fmt::format("Give a cache of at least {} tokens.", keep + 1));
  }
}

}  // namespace

struct KvCache::Layer {
  KvPlacement placement;
  int kv_heads = 0;
  int head_dim = 0;
  std::int64_t slots = 0;
  KvStore keys;
  KvStore values;
  KvOrder order;
  std::vector<KvSegment> segments;
  /// Ring positions below this were overwritten before a truncate().
  std::int64_t lost_below = 0;

  /// The earliest ring position that is still there.
  std::int64_t oldest_held(std::int64_t position) const {
    return std::max({placement.keep, lost_below, position - placement.ring});
  }
  void grow(std::int64_t new_slots, KvMemory* memory);
  bool is_available() const {
    return keys.is_available() && values.is_available() &&
           (!order.written || order.written->is_available());
  }
};

struct KvCache::State {
  KvOptions options;
  std::vector<Layer> layers;  ///< without attention: no heads, no slots
  RecurrentStates recurrent;
  std::int64_t position = 0;
  /// position() before the last reserve().
  std::int64_t step_begin = 0;
  KvMemory memory;  ///< read and written in place

  void grow(std::int64_t tokens);
  void list_segments() {
    for (auto& layer : layers) {
      if (layer.kv_heads > 0) {
        layer.placement.list_segments(step_begin, position, layer.segments);
      }
    }
  }
};

void KvCache::Layer::grow(std::int64_t new_slots, KvMemory* memory) {
  // What is copied must have been written.
  if (order.written) {
    mx::eval(*order.written);
  }
  keys.grow(static_cast<int>(new_slots), memory);
  values.grow(static_cast<int>(new_slots), memory);
  slots = new_slots;
}

/// Makes room for so many positions.
void KvCache::State::grow(std::int64_t tokens) {
  std::vector<std::pair<Layer*, std::int64_t>> growing;
  std::size_t bytes = 0;
  for (Layer& layer : layers) {
    const auto slots = grown_slots(layer.placement, layer.slots, tokens);
    if (layer.kv_heads > 0 && slots != layer.slots) {
      growing.emplace_back(&layer, slots);
      bytes += layer.keys.memory_for(static_cast<int>(slots)) +
               layer.values.memory_for(static_cast<int>(slots));
    }
  }
  if (options.in_place && !growing.empty()) {
    memory.expect(bytes);
  }
  for (const auto& [layer, slots] : growing) {
    layer->grow(slots, options.in_place ? &memory : nullptr);
  }
}

KvCache::KvCache(const ModelSpec& spec, const KvOptions& options)
    : state_(std::make_unique<State>(
          State{options, {}, {spec, options.kept_states}, 0, 0, {}})) {
  check(options);
  check_kv_format(options.format, spec);
  const KvFormat& format = options.format;
  for (const auto& layer : spec.layers) {
    const auto attention = layer.attention.value_or(AttentionSpec{});
    const Kept kept = kept_of(attention);
    const auto store = [&](int dims, int bits) {
      return KvStore(
          {kept.heads,
           dims,
           bits,
           format.group_size,
           format.keep_full,
           options.layout,
           options.dtype});
    };
    state_->layers.push_back(
        {kv_placement(attention, options),
         kept.heads,
         kept.key_dim,
         0,
         store(kept.key_dim, format.key_bits),
         store(kept.value_dim, format.value_bits),
         {},
         {},
         0});
  }
}

KvCache::~KvCache() = default;
KvCache::KvCache(KvCache&&) noexcept = default;
KvCache& KvCache::operator=(KvCache&&) noexcept = default;

const KvOptions& KvCache::options() const {
  return state_->options;
}

std::int64_t KvCache::position() const {
  return state_->position;
}

void KvCache::reserve(int tokens) {
  auto& state = *state_;
  if (tokens < 0 || tokens > state.options.max_chunk) {
    fail<BugError>(
        fmt::format("kv_cache: a step of {} tokens", tokens),
        fmt::format(
            "This cache was made for steps of at most {}",
            state.options.max_chunk),
        "Cut the tokens into chunks.");
  }
  const auto end = state.position + tokens;
  if (end >= KvPlacement::kUnbounded) {
    fail<UserError>(
        fmt::format("The sequence would have {} tokens", end),
        "Positions beyond 2^31 aren't supported",
        "Start a new sequence.");
  }
  state.grow(end);
  state.recurrent.reserve();
  state.step_begin = state.position;
  state.position = end;
  state.list_segments();
}

bool KvCache::can_truncate(std::int64_t position) const {
  if (position < 0 || position > state_->position) {
    return false;
  }
  if (state_->recurrent.reachable(position, state_->position) != position) {
    return false;
  }
  return std::all_of(
      state_->layers.begin(),
      state_->layers.end(),
      [&](const Layer& layer) {
        const auto& placement = layer.placement;
        return layer.kv_heads == 0 || position <= placement.keep ||
               placement.first_seen(position) >=
                   layer.oldest_held(state_->position);
      });
}

std::int64_t KvCache::reachable(std::int64_t position) const {
  auto found = std::min(position, state_->position);
  while (found > 0 && !can_truncate(found)) {
    const auto kept = state_->recurrent.reachable(found, state_->position);
    // Layers that overwrite lose an earlier position no later than this one.
    found = kept == found ? 0 : kept;
  }
  return found;
}

void KvCache::keep_state() {
  state_->recurrent.keep(state_->position);
}

void KvCache::keep_state_for_a_step() {
  state_->recurrent.keep_for_a_step(state_->position);
}

void KvCache::truncate(std::int64_t position) {
  if (position < 0 || position > state_->position) {
    fail<BugError>(
        fmt::format("kv_cache: truncate to position {}", position),
        fmt::format("The sequence has {} tokens", state_->position),
        "Truncate to a position that was reached.");
  }
  if (!can_truncate(position)) {
    fail<UserError>(
        fmt::format("Can't go back to position {}", position),
        fmt::format(
            "At position {} a windowed or rotating layer has overwritten what "
            "the next token would see, or a recurrent layer kept no state",
            state_->position),
        "Run the sequence again from its start.");
  }
  for (auto& layer : state_->layers) {
    layer.lost_below = position <= layer.placement.keep
                           ? 0
                           : layer.oldest_held(state_->position);
  }
  state_->recurrent.return_to(position, state_->position);
  state_->position = position;
  state_->step_begin = position;
  state_->list_segments();
}

void KvCache::clear() {
  truncate(0);
}

KvView KvCache::view(int layer) {
  auto& held = state_->layers.at(layer);
  const auto dtype = state_->options.dtype;
  if (dtype != mx::float16 && dtype != mx::float32) {
    fail<BugError>(
        "kv_cache: no raw view of this type",
        "CPU kernels read f16 and f32",
        "Make the cache with one of these.");
  }
  if (!held.is_available()) {
    std::vector<mx::array> all;
    for (const auto& each : state_->layers) {
      for (const KvStore* store : {&each.keys, &each.values}) {
        const auto arrays = store->arrays();
        all.insert(all.end(), arrays.begin(), arrays.end());
      }
      if (each.order.written) {
        all.push_back(*each.order.written);
      }
    }
    mx::eval(all);
  }
  KvView view;
  view.type = dtype == mx::float32 ? KvType::f32 : KvType::f16;
  view.keys = held.keys.floats().data<void>();
  view.values = held.values.floats().data<void>();
  view.kv_heads = held.kv_heads;
  view.head_dim = held.head_dim;
  view.slots = static_cast<int>(held.slots);
  view.segments = held.segments;
  view.key_codes = held.keys.view();
  view.value_codes = held.values.view();
  if (view.any_codes()) {
    view.full_slots = std::min(view.slots, state_->options.format.keep_full);
  }
  return view;
}

mx::array& KvCache::keys(int layer) {
  return state_->layers.at(layer).keys.floats();
}

mx::array& KvCache::values(int layer) {
  return state_->layers.at(layer).values.floats();
}

KvStore& KvCache::key_store(int layer) {
  return state_->layers.at(layer).keys;
}

KvStore& KvCache::value_store(int layer) {
  return state_->layers.at(layer).values;
}

KvOrder& KvCache::order(int layer) {
  return state_->layers.at(layer).order;
}

RecurrentState& KvCache::recurrent(int layer) {
  return state_->recurrent.at(layer);
}

int KvCache::slot_of(int layer, std::int64_t position) const {
  return static_cast<int>(state_->layers.at(layer).placement.slot_of(position));
}

const std::vector<KvSegment>& KvCache::segments(int layer) const {
  return state_->layers.at(layer).segments;
}

std::size_t KvCache::bytes() const {
  std::size_t sum = state_->recurrent.bytes();
  for (const auto& layer : state_->layers) {
    sum += layer.keys.bytes() + layer.values.bytes();
  }
  return sum;
}

std::int64_t KvCache::slots_for(
    const AttentionSpec& attention,
    const KvOptions& options,
    std::int64_t tokens) {
  const KvPlacement placement = kv_placement(attention, options);
  std::int64_t slots = 0;
  // Room grows by what a chunk needs, in the chunks that a prefill takes.
  for (std::int64_t at = 0; at < tokens && slots < placement.slot_limit();
       at += options.max_chunk) {
    slots = grown_slots(
        placement,
        slots,
        std::min<std::int64_t>(at + options.max_chunk, tokens));
  }
  return slots;
}

std::size_t KvCache::layer_bytes_for(
    const AttentionSpec& attention,
    const KvOptions& options,
    std::int64_t tokens) {
  const KvFormat& format = options.format;
  const auto slots = slots_for(attention, options, tokens);
  const auto full =
      format.in_codes() ? std::min<std::int64_t>(slots, format.keep_full) : 0;
  const auto float_bytes = mx::size_of(options.dtype);
  return static_cast<std::size_t>(full) *
             kv_full_token_bytes(attention, float_bytes) +
         static_cast<std::size_t>(slots - full) *
             kv_token_bytes(attention, format, float_bytes);
}

std::size_t KvCache::bytes_for(
    const ModelSpec& spec,
    const KvOptions& options,
    std::int64_t tokens) {
  std::size_t sum = tokens > 0 ? state_bytes(spec) : 0;
  for (const auto& layer : spec.layers) {
    if (!layer.attention) {
      continue;
    }
    sum += layer_bytes_for(*layer.attention, options, tokens);
  }
  return sum;
}

}  // namespace roofline
