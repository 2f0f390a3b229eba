// A checkpoint of random weights for a spec that has none here: as large, as
// fast and as heavy in memory as the real one, and it says nonsense. The
// weights lie in a nameless temporary file that is mapped like any other.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "roofline/spec/model_spec.h"
#include "roofline/weights/checkpoint.h"

namespace roofline {

struct RandomFormat {
  /// 16: bf16. 8 or 4: MLX's affine codes; rows that don't divide into groups,
  /// norms and biases stay bf16.
  int bits = 16;
  int group_size = 64;  ///< 32, 64 or 128
  /// Parts that have 8 bits where the rest has 4 (spec/tensor_parts.h).
  std::vector<std::string> eight_bit = {};
};

/// The same spec and format always give the same weights, scaled so that
/// logits stay finite. name: for people, path() is "random:NAME"; the family's
/// where empty. The checkpoint has no vocabulary and no template. Load it with
/// ModelOptions.cache_packed = false, so that it pushes no real model out of
/// the cache. Throws UnsupportedError for a model that can't be run, UserError
/// for an impossible format or when the disk has no room.
std::unique_ptr<Checkpoint> make_random_checkpoint(
    const ModelSpec& spec,
    const RandomFormat& format,
    std::string_view name = {});

}  // namespace roofline
