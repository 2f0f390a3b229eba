// Reads the layers of a config.json: sizes, and each layer's norms, attention,
// window, positions and feed-forward, patterns expanded. What stands around
// the layers is read in read_config.cpp.
#pragma once

#include <cstdint>
#include <optional>

#include "roofline/spec/families.h"
#include "roofline/spec/fields.h"
#include "roofline/spec/model_spec.h"

namespace roofline {

struct Sizes {
  int dim = 0;
  int hidden = 0;
  int layers = 0;
  int heads = 0;
  int kv_heads = 0;
  int head_dim = 0;
  int vocab = 0;
  std::int64_t context = 0;
};

/// Sizes that go together: heads share kv_heads evenly, head_dim is known.
Sizes read_sizes(Fields& config, const Family& family);

/// Fills spec.layers and spec.final_norm.
void read_layers(
    Fields& config,
    const Family& family,
    const Sizes& sizes,
    ModelSpec& spec);

/// A cap on scores or logits: null means none, absent the family's own.
std::optional<float> read_softcap(
    Fields& config,
    std::string_view name,
    bool readable,
    std::optional<float> other);

}  // namespace roofline
