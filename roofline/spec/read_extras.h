// What only some families add to their layers: heads of another size where a
// layer sees all, keys and values of an earlier layer, embeddings of each
// layer's own, several residual streams, a low-rank twin, sparse gates.
#pragma once

#include "roofline/spec/families.h"
#include "roofline/spec/fields.h"
#include "roofline/spec/model_spec.h"
#include "roofline/spec/read_sizes.h"
#include "roofline/spec/read_windows.h"

namespace roofline {

/// Heads of the layers that see all.
struct FullHeads {
  int head_dim = 0;
  int kv_heads = 0;
  bool values_are_keys = false;
};

/// Those of all layers where the family has no others.
FullHeads read_full_heads(
    Fields& config,
    const Family& family,
    const Sizes& sizes,
    const Windows& windows);

/// Adds the rest to a spec whose layers have their windows.
void read_extras(Fields& config, const Family& family, ModelSpec& spec);

/// Sets shares_kv_of_layer in the last `shared` layers: each reads the last
/// layer of its kind before them. Throws CheckpointError, naming the field,
/// when there is none.
void share_keys_and_values(
    Fields& config,
    std::string_view name,
    std::size_t shared,
    ModelSpec& spec);

}  // namespace roofline
