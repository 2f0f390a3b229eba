#include "roofline/train/preference.h"

#include <cmath>

namespace roofline {

namespace {

struct Answer {
  double nll = 0;
  double tokens = 0;
};

Answer answer_of(
    const PairRows& rows,
    std::size_t sample,
    std::span<const float> nll) {
  Answer answer;
  for (int row = rows.first[sample]; row < rows.first[sample + 1]; ++row) {
    const auto at = static_cast<std::size_t>(row);
    answer.nll += static_cast<double>(rows.learned[at]) * nll[at];
    answer.tokens += rows.learned[at];
  }
  return answer;
}

void set_weights(
    const PairRows& rows,
    std::size_t sample,
    double weight,
    std::span<float> weights) {
  for (int row = rows.first[sample]; row < rows.first[sample + 1]; ++row) {
    const auto at = static_cast<std::size_t>(row);
    weights[at] = rows.learned[at] * static_cast<float>(weight);
  }
}

/// log(1 + eˣ), and its derivative σ(x).
double softplus(double x) {
  return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x));
}
double sigmoid(double x) {
  return x > 0 ? 1 / (1 + std::exp(-x)) : std::exp(x) / (1 + std::exp(x));
}

/// Derivatives of one pair's loss by the sums of −log p.
struct PairLoss {
  double loss = 0;
  double chosen = 0;
  double rejected = 0;
};

/// −log σ(z), z = β·((log p − log p₀)(chosen) − (…)(rejected))
PairLoss dpo(
    double beta,
    double chosen,
    double rejected,
    double ref_c,
    double ref_r) {
  const double z = beta * ((ref_c - chosen) - (ref_r - rejected));
  const double slope = beta * sigmoid(-z);
  return {softplus(-z), slope, -slope};
}

/// NLL(chosen) − λ·log σ(log odds ratio), with probabilities a token.
PairLoss orpo(double lambda, const Answer& chosen, const Answer& rejected) {
  // Certain answers would have infinite odds.
  constexpr double kLeast = 1e-6;
  const double c = std::max(kLeast, chosen.nll / chosen.tokens);
  const double r = std::max(kLeast, rejected.nll / rejected.tokens);
  const double odds_c = -c - std::log(-std::expm1(-c));
  const double odds_r = -r - std::log(-std::expm1(-r));
  const double z = odds_c - odds_r;
  const double slope = lambda * sigmoid(-z);
  // d odds / d nll = −1 / (1 − e^{−nll})
  const double by_c = 1 / -std::expm1(-c);
  const double by_r = 1 / -std::expm1(-r);
  return {
      c + lambda * softplus(-z),
      (1 + slope * by_c) / chosen.tokens,
      -slope * by_r / rejected.tokens};
}

}  // namespace

double preference_loss(
    LossName loss,
    double beta,
    double share,
    const PairRows& rows,
    std::span<const float> nll,
    std::span<float> weights) {
  const std::size_t pairs = (rows.first.size() - 1) / 2;
  const double factor = share / static_cast<double>(pairs);
  double sum = 0;
  for (std::size_t i = 0; i < pairs; ++i) {
    const Answer chosen = answer_of(rows, 2 * i, nll);
    const Answer rejected = answer_of(rows, 2 * i + 1, nll);
    const PairLoss pair = loss == LossName::orpo
                              ? orpo(beta, chosen, rejected)
                              : dpo(beta,
                                    chosen.nll,
                                    rejected.nll,
                                    rows.reference_nll[2 * i],
                                    rows.reference_nll[2 * i + 1]);
    sum += factor * pair.loss;
    set_weights(rows, 2 * i, factor * pair.chosen, weights);
    set_weights(rows, 2 * i + 1, factor * pair.rejected, weights);
  }
  return sum;
}

}  // namespace roofline
