// How much a changed model (quantized, say) differs from the one it was made
// of: both read the same text, and their distributions over the next token are
// compared at each place.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "roofline/model/decoder.h"

namespace roofline {

struct QualityReport {
  /// Kullback-Leibler divergence from the reference in nats a token: what the
  /// candidate's prediction loses. 0: the same predictions.
  double mean_kl = 0;
  double p99_kl = 0;
  double top1_agreement = 1;  ///< share of places with the same likeliest token
  double reference_perplexity = 0;
  double perplexity = 0;
  std::int64_t tokens = 0;
  /// exp(-mean_kl): 1 is the reference's own, 0.95 loses 0.05 nats a token.
  double score() const;
};

struct QualityOptions {
  /// Tokens of one window; each begins with an empty cache.
  int window_tokens = 512;
  /// Rows of logits that are held at once.
  int chunk_tokens = 64;
  /// Looked at before each chunk; true ends the measuring with what there is.
  std::function<bool()> stop;
};

/// Both may be the same decoder: then only its perplexity is measured.
/// `tokens` needs at least two.
QualityReport measure_quality(
    Decoder& reference,
    Decoder& candidate,
    std::span<const std::int32_t> tokens,
    const QualityOptions& options = {});

/// Compares rows of `vocabulary` logits. Adds to the report's sums through the
/// places' values; for measure_quality() and its tests.
struct PlaceQuality {
  double kl = 0;
  bool same_top = true;
  double reference_nats = 0;  ///< -log p(next)
  double nats = 0;
};
PlaceQuality compare_logits(
    std::span<const float> reference,
    std::span<const float> candidate,
    std::int32_t next);

QualityReport summarize(std::span<const PlaceQuality> places);

/// English prose out of copyright, some thousand characters.
std::string_view quality_text();

}  // namespace roofline
