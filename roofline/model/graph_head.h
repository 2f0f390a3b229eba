// What follows the product with the head: scale and softcap of the logits.
#pragma once

#include <mlx/array.h>

#include "roofline/spec/model_spec.h"

namespace roofline {

namespace mx = mlx::core;

/// cap·tanh(scale·y / cap), or scale·y where the model has no softcap.
/// y: [tokens, vocab] float32, the head's product; the same shape comes out.
mx::array scaled_logits(mx::array y, const ModelSpec& spec);

}  // namespace roofline
