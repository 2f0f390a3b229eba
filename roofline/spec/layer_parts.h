// Which parts each layer of a hybrid model has: attention, a recurrence, a
// feed-forward part or a mixture, from the lists that configs have.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "roofline/spec/fields.h"
#include "roofline/spec/recurrent_rule.h"

namespace roofline {

enum class LayerPart { attention, recurrence, feed_forward, mixture };

/// The list of a config that has one: "layer_types", "layers_block_type" or the
/// letters of "hybrid_override_pattern". Throws CheckpointError for a name that
/// isn't known.
std::optional<std::vector<LayerPart>> listed_parts(Fields& config);

/// The mixer (or only part) of each of so many layers, by list or by rule.
std::vector<LayerPart> read_parts(
    Fields& config,
    const RecurrentRule& rule,
    std::size_t layers);

}  // namespace roofline
