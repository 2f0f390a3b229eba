// How well a model predicts a text, and how much a changed model (quantized,
// say) differs from the one it was made of: both read the same text, and their
// distributions over the next token are compared at each place.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "roofline/evaluate/windows.h"
#include "roofline/model/decoder.h"

namespace roofline {

/// A mean over places with its standard error: the sample's deviation over the
/// root of the count, as if places were independent.
struct Estimate {
  double mean = 0;
  double standard_error = 0;
};

Estimate estimate_of(std::span<const double> values);

/// e to the mean surprise; the standard error by the derivative.
struct Perplexity {
  double value = 0;
  double standard_error = 0;
};

struct QualityReport {
  /// Kullback-Leibler divergence from the reference in nats a token: what the
  /// candidate's prediction loses. 0: the same predictions.
  double mean_kl = 0;
  double kl_standard_error = 0;
  double median_kl = 0;
  double p99_kl = 0;
  double max_kl = 0;
  double top1_agreement = 1;  ///< share of places with the same likeliest token
  /// Change of the probability of the token that followed: mean and root mean
  /// square, as shares.
  double mean_delta_p = 0;
  double rms_delta_p = 0;
  double reference_perplexity = 0;
  double perplexity = 0;
  double reference_perplexity_error = 0;
  double perplexity_error = 0;
  std::int64_t tokens = 0;
  /// exp(-mean_kl): 1 is the reference's own, 0.95 loses 0.05 nats a token.
  double score() const;
};

struct QualityOptions {
  WindowOptions windows;
  /// Looked at before each chunk; true ends the measuring with what there is.
  std::function<bool()> stop;
  /// Share of the text that is done, 0 … 1.
  std::function<void(double)> progress;
};

/// Both may be the same decoder: then only its perplexity is measured.
/// `tokens` needs at least two.
QualityReport measure_quality(
    Decoder& reference,
    Decoder& candidate,
    std::span<const std::int32_t> tokens,
    const QualityOptions& options = {});

/// Compares rows of `vocabulary` logits; for measure_quality() and its tests.
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

/// The same comparison of rows that come in pieces of the vocabulary, from its
/// first entry on: where a head is too large to be in memory whole.
class PlaceTally {
 public:
  explicit PlaceTally(std::int32_t next) : next_(next) {}
  /// Logits of the entries that follow those so far, of both models.
  void add(std::span<const float> reference, std::span<const float> candidate);
  /// When all entries have been added.
  PlaceQuality quality() const;

 private:
  /// Σ e^(logit − top) of one model.
  struct Mass {
    float top = 0;
    double sum = 0;
    std::int64_t likeliest = 0;
    float next = 0;  ///< the logit of the token that follows

    double nats() const;
  };
  void take(Mass& mass, std::span<const float> logits) const;

  std::int64_t next_;
  std::int64_t seen_ = 0;
  Mass reference_, candidate_;
  double share_ = 0;     ///< Σ e^(reference − top)
  double weighted_ = 0;  ///< Σ e^(reference − top)·difference, less the tops'
};

/// -log p(next) of a row of logits.
double surprise_of(std::span<const float> logits, std::int32_t next);

QualityReport summarize(std::span<const PlaceQuality> places);

}  // namespace roofline
