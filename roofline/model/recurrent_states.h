// What the recurrent layers of one sequence remember: a state of fixed size
// that each token replaces, so going back needs a state that was kept. States
// are MLX arrays that are never written in place: keeping one costs its bytes
// and no copy. Knows nothing of keys and values (kv_cache.h has both).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include <mlx/array.h>

#include "roofline/spec/model_spec.h"

namespace roofline {

namespace mx = mlx::core;

/// Of one layer, float32.
struct RecurrentState {
  /// The last inputs of the convolution, oldest first:
  /// [conv_width − 1, conv_channels].
  mx::array conv_inputs;
  /// mamba2: [heads, head_dim, state_dim]; gated_delta: [heads, state_dim,
  /// head_dim]; short_conv: [0].
  mx::array memory;
};

/// Bytes of one layer's state.
std::size_t state_bytes(const RecurrentSpec& spec);
/// Bytes of the states of all layers; 0 without recurrent layers.
std::size_t state_bytes(const ModelSpec& spec);

class RecurrentStates {
 public:
  /// most_kept: how many states keep() holds at a time.
  RecurrentStates(const ModelSpec& spec, int most_kept);

  /// No layer is recurrent.
  bool empty() const { return empty_; }
  /// What the layer remembers now; the caller replaces its arrays.
  /// Throws BugError when it isn't recurrent.
  RecurrentState& at(int layer);
  /// Makes room where there is none yet.
  void reserve();

  /// Keeps what is remembered now, after `position` tokens, so that
  /// return_to(position) works later. When there are too many, the one whose
  /// neighbours are closest goes, but not one of the last two.
  void keep(std::int64_t position);
  /// Keeps the same until the next call of this, of keep() or of return_to(),
  /// beside what keep() holds: for a step that may be taken back.
  void keep_for_a_step(std::int64_t position);
  /// The latest position ≤ `position` that return_to() can reach when the
  /// sequence has `current` tokens; 0, the start, always.
  std::int64_t reachable(std::int64_t position, std::int64_t current) const;
  /// Forgets what came after `position`, which must be reachable.
  void return_to(std::int64_t position, std::int64_t current);

  std::size_t bytes() const;

 private:
  using Layers = std::vector<std::optional<RecurrentState>>;
  struct Kept {
    std::int64_t position = 0;
    Layers layers;
  };
  void drop_one();

  Layers fresh_;  ///< at the start of a sequence: zeros
  Layers layers_;
  std::vector<Kept> kept_;  ///< by position
  std::optional<Kept> before_step_;
  int most_kept_;
  bool empty_ = true;
  bool reserved_ = false;
  std::size_t bytes_each_;
};

}  // namespace roofline
