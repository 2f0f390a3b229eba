// Which tokens may be drawn: top-k, typical, top-p, min-p and XTC. The first
// one that applies picks candidates out of the whole row without sorting it;
// the others thin the list. A list is always in order of token id.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "roofline/decode/sampling.h"

namespace roofline {

struct Candidate {
  std::int32_t token = 0;
  float logit = 0.0f;
  /// e^(logit − largest logit): the probability, not yet normalised.
  float weight = 0.0f;
};

using Candidates = std::vector<Candidate>;

/// −inf for an empty list.
float max_logit(const Candidates& list);

/// The k largest logits [vocab]; of equal ones the lower ids.
void select_top_k(std::span<const float> logits, int k, Candidates& out);

/// All tokens whose logit [vocab] is at least `threshold`.
void select_above(
    std::span<const float> logits,
    float threshold,
    Candidates& out);

/// The smallest set of likeliest tokens of the whole row that holds at least
/// top_p of its probability (Holtzman et al. 2019). Never empty.
void select_top_p(std::span<const float> logits, float top_p, Candidates& out);

/// The same over a list.
void keep_top_p(Candidates& list, float top_p);

/// Drops what is less likely than min_p times the likeliest.
void keep_min_p(Candidates& list, float min_p);

/// The smallest set that holds at least typical_p of the probability, taken
/// in order of |surprise − entropy| (Meister et al. 2022, "Locally typical
/// sampling"). Never empty.
void keep_typical(Candidates& list, float typical_p);

/// Drops all but the least likely of the tokens whose probability within the
/// list is at least `threshold` ("exclude top choices"); nothing when fewer
/// than two reach it. The caller decides by chance whether to call it.
void drop_top_choices(Candidates& list, float threshold);

/// How far from the largest logit, at most 0, a token of the whole row can
/// still matter where top-k and top-p don't look at it.
float least_depth(const SamplingOptions& options);

/// Whether the options ask for any of these; xtc_draw as for truncate().
bool truncates(
    std::size_t vocab,
    const SamplingOptions& options,
    double xtc_draw);

/// All of the above as the options ask, on penalised logits [vocab].
/// xtc_draw: uniform in [0, 1); XTC acts when it is below xtc_probability.
void truncate(
    std::span<const float> logits,
    const SamplingOptions& options,
    double xtc_draw,
    Candidates& out);

}  // namespace roofline
