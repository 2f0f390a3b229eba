// Losses on pairs of answers, as derivatives of each token's −log p.
// Sources: DPO arXiv 2305.18290, ORPO arXiv 2403.07691.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "roofline/train/options.h"

namespace roofline {

/// The rows of a batch of pairs: sample 2i is pair i's chosen answer, 2i + 1
/// its rejected one.
struct PairRows {
  std::vector<int> first;      ///< of each sample, then the end
  std::vector<float> learned;  ///< a row: 1 where it counts
  /// Σ −log p of each sample under the model before training; dpo only.
  std::vector<double> reference_nll;
};

/// The mean loss over the pairs, and in weights its derivative by each row's
/// −log p. beta: dpo's, or orpo's lambda. share: of the pairs of this batch in
/// those of the step.
double preference_loss(
    LossName loss,
    double beta,
    double share,
    const PairRows& rows,
    std::span<const float> nll,
    std::span<float> weights);

}  // namespace roofline
