// Rotary positions as MLX ops. Holds the frequencies of the rope regimes that
// are in use on the device, so that a step uploads nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include <mlx/array.h>

#include "roofline/spec/model_spec.h"

namespace roofline {

namespace mx = mlx::core;

class GraphRope {
 public:
  GraphRope(const RopeSpec& spec, int head_dim);

  /// Rotates x [1, heads, tokens, head_dim], whose first token stands at
  /// `position`, for a sequence of `sequence_tokens` tokens in all.
  mx::array operator()(
      const mx::array& x,
      std::int64_t position,
      std::int64_t sequence_tokens);

 private:
  struct Uploaded {
    RopeRegime regime;
    std::optional<mx::array> factors;  ///< [head_dim]: magnitude where rotated
    mx::array wavelengths;             ///< 1 / frequency: what MLX's rope takes
  };
  const Uploaded& regime_for(std::int64_t sequence_tokens, mx::Dtype dtype);
  Uploaded upload(const RopeRegime& regime, mx::Dtype dtype) const;

  RopeSpec spec_;
  int head_dim_;
  std::vector<Uploaded> uploaded_;
};

}  // namespace roofline
