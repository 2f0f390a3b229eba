// Reads mixtures of experts and latent attention from a GGUF file's metadata.
// Defaults of absent keys are those of llama.cpp.
#pragma once

#include <cstddef>

#include "roofline/spec/gguf_keys.h"
#include "roofline/spec/model_spec.h"

namespace roofline {

/// Turns the dense feed-forward parts of `spec` into mixtures where the file
/// has experts. Throws CheckpointError for numbers that can't go together.
void read_gguf_mixtures(GgufKeys& keys, const Family& family, ModelSpec& spec);

/// Turns the attention of a family that has `latent` into one.
void read_gguf_latent(GgufKeys& keys, AttentionSpec& attention);

/// Whether the scores' scale has yarn's magnitude, of mscale_all_dim, in it and
/// the rope hasn't.
bool gguf_latent_has_mscale(GgufKeys& keys);

/// The factor on a latent's scores: the square of yarn's mscale of all dims,
/// and without that key llama.cpp's (attn_factor·(1 + 0.1·ln(factor)))² for
/// every scaling that divides positions.
float gguf_latent_scale_factor(GgufKeys& keys);

}  // namespace roofline
