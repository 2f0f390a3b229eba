// The samples of a training batch, one after the other, and what the layers'
// attention shares over them.
#pragma once

#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "roofline/kernels/packed_attention/packed_attention.h"
#include "roofline/spec/model_spec.h"

namespace roofline {

class PackedSamples {
 public:
  /// first: each sample's first row, then the number of rows.
  explicit PackedSamples(std::span<const int> first);

  /// Attention of a layer over these samples.
  PackedAttention attention(const AttentionSpec& spec) const;
  /// Whether packed attention computes all that the spec asks for.
  static bool can(const AttentionSpec& spec);

 private:
  std::shared_ptr<const RopeTable> rope_table(const RopeSpec& spec) const;

  std::shared_ptr<const std::vector<int>> first_;
  /// Layers with the same positions share a table.
  mutable std::vector<std::pair<RopeSpec, std::shared_ptr<const RopeTable>>>
      tables_;
};

}  // namespace roofline
