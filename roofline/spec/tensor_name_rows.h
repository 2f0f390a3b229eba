// The tables that lead from names in checkpoints to ours. A family whose files
// name tensors in their own way has rows of its own, which come first.
#pragma once

#include <span>
#include <string_view>

#include "roofline/spec/tensor_names.h"

namespace roofline {

enum class NameAction {
  rename,
  turned,                ///< stored [in, out] in files that aren't MLX's
  split_qkv,             ///< rows of q, k, v one after another
  turned_qkv,            ///< turned, of q, k, v one after another
  qkv_by_head,           ///< a head's rows of q, k, v, then the next head's
  split_gate_up,         ///< rows of the gate, then those of up
  norm_after_attention,  ///< its place tells which norm it is
  query_head,            ///< "*" is the number of the head it belongs to
  key_head,
  numbered,       ///< "*" stands after the target too
  split_streams,  ///< the rows of each stream but the first
  drop,
};

struct NameRow {
  std::string_view pattern;
  NameAction action = NameAction::rename;
  std::string_view target;
};

struct NameTable {
  /// Rows of one family, then those of all.
  std::span<const NameRow> own_model, own_layer;
  std::span<const NameRow> model, layer;
};

/// family: as ModelSpec has it.
NameTable name_table(NameStyle style, std::string_view family);

}  // namespace roofline
