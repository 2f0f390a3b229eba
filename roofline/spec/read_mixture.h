// Reads the mixtures of experts of a config.json: which layers have one, how
// large its experts are and how the router chooses and weighs them.
#pragma once

#include "roofline/spec/families.h"
#include "roofline/spec/fields.h"
#include "roofline/spec/model_spec.h"

namespace roofline {

/// Turns the dense feed-forward parts of `spec` into mixtures where the family
/// has them. Throws CheckpointError for numbers that can't go together.
void read_mixtures(Fields& config, const Family& family, ModelSpec& spec);

/// Gives the part this mixture, in place of what it was or beside it.
void set_mixture(
    FeedForwardSpec& feed_forward,
    const MixtureRule& rule,
    const MixtureSpec& mixture);

/// Refuses what would break the routing: more experts chosen than there are,
/// groups that don't divide them, sizes past all bounds.
void check_mixture(Fields& config, const MixtureSpec& mixture);

}  // namespace roofline
