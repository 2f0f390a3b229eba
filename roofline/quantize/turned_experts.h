// A checkpoint whose experts are floats that lie turned, gate and up in turns
// (gpt-oss's), as one that has each expert's gate, up and down by rows: what
// quantization looks at. Nothing is copied but biases; rows are read where they
// lie.
#pragma once

#include <memory>

#include "roofline/weights/checkpoint.h"

namespace roofline {

/// The checkpoint itself where nothing lies so.
std::unique_ptr<Checkpoint> with_experts_by_rows(
    std::unique_ptr<Checkpoint> checkpoint);

}  // namespace roofline
