// Reads the recurrent layers of a config.json: which layers they are, and the
// sizes and options of their recurrence.
#pragma once

#include <cstddef>
#include <vector>

#include "roofline/spec/families.h"
#include "roofline/spec/fields.h"
#include "roofline/spec/layer_parts.h"
#include "roofline/spec/model_spec.h"
#include "roofline/spec/read_sizes.h"

namespace roofline {

/// How many layers a list of their kinds has, where the family goes by that
/// rather than by a number; 0: it doesn't, or there is no list.
int count_listed_layers(Fields& config, const RecurrentRule& rule);

/// Gives the layers of `spec`, which all have attention and a feed-forward
/// part so far, the parts that the family's rule says, and reads what comes
/// with them. Throws CheckpointError or UnsupportedError, naming the field.
void read_recurrent(
    Fields& config,
    const Family& family,
    const Sizes& sizes,
    ModelSpec& spec);

/// Leaves the layer, which has attention and a feed-forward part, the parts
/// that the family's rule says.
void arrange_parts(
    LayerSpec& layer,
    const RecurrentRule& rule,
    const RecurrentSpec& recurrent,
    LayerPart part);

/// Which layers of a family with one part in each are mixtures of experts.
std::vector<bool> listed_mixtures(
    Fields& config,
    const RecurrentRule& rule,
    std::size_t layers);

}  // namespace roofline
