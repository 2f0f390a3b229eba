// token_loss() as a graph of MLX ops, for a GPU. Rows go through the head a few
// at a time here too, and are computed again for the gradient: the logits of a
// whole batch never exist.
#pragma once

#include "roofline/kernels/token_loss/token_loss.h"

namespace roofline {

/// `head.logits` must be there. Evaluates −log p when the targets reweigh.
TokenLoss graph_token_loss(
    const mx::array& hidden,
    const TokenHead& head,
    const TokenTargets& targets);

}  // namespace roofline
