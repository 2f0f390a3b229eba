// token_loss() as a graph of MLX ops, for a GPU. Rows go through the head a few
// at a time here too, and again for the gradient, each few after the ones
// before: the logits of a whole batch never exist.
#pragma once

#include "roofline/kernels/token_loss/token_loss.h"

namespace roofline {

/// Logits that are computed at once: 64 MB of float32, of which three or four
/// copies live while a gradient is taken.
constexpr std::int64_t kLogitsAtOnce = std::int64_t{1} << 24;

/// `head.logits` must be there. Evaluates −log p when the targets reweigh.
TokenLoss graph_token_loss(
    const mx::array& hidden,
    const TokenHead& head,
    const TokenTargets& targets,
    std::int64_t most_logits = kLogitsAtOnce);

}  // namespace roofline
