// Reads latent attention from a config.json with DeepSeek-V2's fields.
#pragma once

#include "roofline/spec/families.h"
#include "roofline/spec/fields.h"
#include "roofline/spec/model_spec.h"

namespace roofline {

/// Turns the attention of a family that has `latent` into one. Throws
/// CheckpointError for sizes that can't be.
void read_latent(Fields& config, AttentionSpec& attention);

/// How the positions of such a family rotate.
RopeLayout latent_rope_layout(Fields& config, const Family& family);

/// The factor on scores that yarn's "mscale_all_dim" asks for, 1 without it.
float latent_scale_factor(Fields& config);

}  // namespace roofline
