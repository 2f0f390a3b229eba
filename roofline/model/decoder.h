// A loaded model: token ids in, logits out. Two ways to run one: the graph of
// MLX ops (any device; the reference), and the fused CPU step (kernels/block).
// Both read the same ModelSpec and Checkpoint; neither knows a family's name.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <mlx/array.h>

#include "roofline/kernels/block/deciding_logits.h"
#include "roofline/model/kv_cache.h"
#include "roofline/weights/checkpoint.h"

namespace roofline {

enum class DeviceChoice { automatic, cpu, gpu };

struct QuantizeChoice {
  int bits = 4;         ///< 4 or 8
  int group_size = 64;  ///< 32, 64 or 128
  /// Parts that have 8 bits where the rest has 4 (spec/tensor_parts.h).
  std::vector<std::string> eight_bit = {};

  /// Of the matrix of this name in a model of so many layers.
  int bits_of(std::string_view name, int layers) const;
};

struct ModelOptions {
  DeviceChoice device = DeviceChoice::automatic;
  /// float32 activations and cache, no fast approximations.
  bool exact = false;
  /// Quantize floating-point matrices at load.
  std::optional<QuantizeChoice> quantize;
  /// How the caches that make_cache() gives keep keys and values.
  KvFormat kv = {};
  /// Keep what is repacked on disk for the next start.
  bool cache_packed = true;
  /// Keep a coarse copy of the head beside it where that pays:
  /// Slice::deciding.
  bool screen_head = true;
  /// Run the MLX graph on the CPU instead of the fused step (for tests and
  /// comparison).
  bool graph_on_cpu = false;
};

enum class LogitRows { last, all };

/// One sequence's part of a forward call.
struct Slice {
  KvCache* cache = nullptr;
  std::span<const std::int32_t> tokens;  ///< appended to the cache
  LogitRows rows = LogitRows::last;
  /// The one token [1] int32, where the device drew it and the host doesn't
  /// know it yet (`tokens` then has any id in its place): see takes_drawn().
  std::optional<mx::array> drawn = {};
  /// Of each row. Noise is of one draw: of several rows all logits are made.
  DecidingLogits deciding = {};
};

class Decoder {
 public:
  virtual ~Decoder() = default;
  /// Loads (maps, packs, quantizes) the weights. `checkpoint` must outlive it.
  static std::unique_ptr<Decoder> load(
      const Checkpoint& checkpoint,
      const ModelOptions& options);

  virtual const ModelSpec& spec() const = 0;
  /// "CPU, avx512, 2 threads": for people.
  virtual std::string device_name() const = 0;
  /// An empty cache of the type this decoder wants, in ModelOptions::kv.
  virtual std::unique_ptr<KvCache> make_cache(
      const KvOptions& options) const = 0;

  /// Runs the slices in one step and returns float32 logits [rows, vocab],
  /// slice after slice. `context_tokens`: how long each sequence will be at the
  /// end of the current prefill (it picks the rope regime); 0: its length now.
  virtual mx::array forward(
      std::span<const Slice> slices,
      std::int64_t context_tokens = 0) = 0;

  /// Whether slices may have a token that the host doesn't know.
  virtual bool takes_drawn() const { return false; }

  /// Why the next start will pack the weights again, or "".
  virtual std::string cache_note() const { return {}; }
  /// Bytes of weights that one decode step must read. all_logits: whether its
  /// one slice asks for all, not for those that decide.
  virtual std::size_t step_weight_bytes(bool all_logits = true) const = 0;
  /// The first length at which a sequence must be run again from its start,
  /// because its rope regime changes there; INT64_MAX when never.
  std::int64_t regime_end(std::int64_t tokens) const;
};

}  // namespace roofline
