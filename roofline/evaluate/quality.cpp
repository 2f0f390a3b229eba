#include "roofline/evaluate/quality.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "roofline/base/errors.h"
#include "roofline/base/statistics.h"
#include "roofline/base/thread_pool.h"
#include "roofline/decode/vector_math.h"
#include "roofline/evaluate/run_windows.h"

namespace roofline {

namespace {

/// Values that are summed in float32 before they go into a double.
constexpr std::size_t kBlock = 256;

/// Σ e^(reference − top) and Σ e^(reference − top)·difference, in one pass.
struct Sums {
  double mass = 0;
  double weighted = 0;
};

Sums weighted_difference(
    std::span<const float> reference,
    std::span<const float> candidate,
    float reference_top,
    float candidate_top) {
  Sums sums;
  for (std::size_t begin = 0; begin < reference.size(); begin += kBlock) {
    const std::size_t end = std::min(reference.size(), begin + kBlock);
    float mass = 0;
    float weighted = 0;
    for (std::size_t i = begin; i < end; ++i) {
      const float r = reference[i] - reference_top;
      const float p = exp_nonpositive(r);
      mass += p;
      weighted += p * (r - (candidate[i] - candidate_top));
    }
    sums.mass += mass;
    sums.weighted += weighted;
  }
  return sums;
}

Perplexity perplexity_of(std::span<const double> nats) {
  const Estimate mean = estimate_of(nats);
  const double value = std::exp(mean.mean);
  return {value, value * mean.standard_error};
}

}  // namespace

Estimate estimate_of(std::span<const double> values) {
  if (values.empty()) {
    return {};
  }
  const auto count = static_cast<double>(values.size());
  double sum = 0;
  for (const double value : values) {
    sum += value;
  }
  const double mean = sum / count;
  double squares = 0;
  for (const double value : values) {
    squares += (value - mean) * (value - mean);
  }
  const double error =
      count > 1 ? std::sqrt(squares / count / (count - 1)) : 0.0;
  return {mean, error};
}

double QualityReport::score() const {
  return std::exp(-mean_kl);
}

double surprise_of(std::span<const float> logits, std::int32_t next) {
  const float top = max_of(logits);
  const auto at = static_cast<std::size_t>(next);
  return std::log(exp_sum(logits, top)) + static_cast<double>(top - logits[at]);
}

double PlaceTally::Mass::nats() const {
  return std::log(sum) + static_cast<double>(top - next);
}

void PlaceTally::take(Mass& mass, std::span<const float> logits) const {
  const float top = max_of(logits);
  const double sum = exp_sum(logits, top);
  if (seen_ == 0 || top > mass.top) {
    mass.sum *= seen_ == 0 ? 0.0 : std::exp(mass.top - top);
    mass.sum += sum;
    mass.top = top;
    mass.likeliest = seen_ + static_cast<std::int64_t>(argmax_of(logits));
  } else {
    mass.sum += sum * std::exp(top - mass.top);
  }
  const std::int64_t at = next_ - seen_;
  if (at >= 0 && at < std::ssize(logits)) {
    mass.next = logits[static_cast<std::size_t>(at)];
  }
}

void PlaceTally::add(
    std::span<const float> reference,
    std::span<const float> candidate) {
  const float reference_before = reference_.top;
  const float shift_before = reference_.top - candidate_.top;
  take(reference_, reference);
  take(candidate_, candidate);
  // Both parts are brought to the tops that hold now.
  const double shift = reference_.top - candidate_.top;
  if (seen_ > 0) {
    const double scale = std::exp(reference_before - reference_.top);
    weighted_ = scale * (weighted_ + share_ * (shift_before - shift));
    share_ *= scale;
  }
  const float reference_top = max_of(reference);
  const float candidate_top = max_of(candidate);
  const Sums sums =
      weighted_difference(reference, candidate, reference_top, candidate_top);
  const double scale = std::exp(reference_top - reference_.top);
  const double own_shift = reference_top - candidate_top;
  weighted_ += scale * (sums.weighted + sums.mass * (own_shift - shift));
  share_ += scale * sums.mass;
  seen_ += std::ssize(reference);
}

PlaceQuality PlaceTally::quality() const {
  PlaceQuality out;
  // KL = Σ p·(log p − log q) with log p = r − log Σ e^r. Rounding can leave a
  // little less than nothing.
  out.kl = std::max(
      weighted_ / share_ + std::log(candidate_.sum) - std::log(reference_.sum),
      0.0);
  out.same_top = reference_.likeliest == candidate_.likeliest;
  out.reference_nats = reference_.nats();
  out.nats = candidate_.nats();
  return out;
}

PlaceQuality compare_logits(
    std::span<const float> reference,
    std::span<const float> candidate,
    std::int32_t next) {
  PlaceTally tally(next);
  tally.add(reference, candidate);
  return tally.quality();
}

QualityReport summarize(std::span<const PlaceQuality> places) {
  QualityReport report;
  if (places.empty()) {
    return report;
  }
  std::vector<double> kls, reference_nats, nats;
  double same = 0;
  double delta = 0;
  double squared_delta = 0;
  for (const PlaceQuality& place : places) {
    kls.push_back(place.kl);
    reference_nats.push_back(place.reference_nats);
    nats.push_back(place.nats);
    same += place.same_top ? 1 : 0;
    const double change =
        std::exp(-place.nats) - std::exp(-place.reference_nats);
    delta += change;
    squared_delta += change * change;
  }
  const auto count = static_cast<double>(places.size());
  const Estimate kl = estimate_of(kls);
  report.mean_kl = kl.mean;
  report.kl_standard_error = kl.standard_error;
  report.median_kl = median_of(kls);
  report.p99_kl = quantile_of(kls, 0.99);
  report.max_kl = *std::max_element(kls.begin(), kls.end());
  report.top1_agreement = same / count;
  report.mean_delta_p = delta / count;
  report.rms_delta_p = std::sqrt(squared_delta / count);
  const Perplexity reference = perplexity_of(reference_nats);
  const Perplexity candidate = perplexity_of(nats);
  report.reference_perplexity = reference.value;
  report.reference_perplexity_error = reference.standard_error;
  report.perplexity = candidate.value;
  report.perplexity_error = candidate.standard_error;
  report.tokens = static_cast<std::int64_t>(places.size());
  return report;
}

QualityReport measure_quality(
    Decoder& reference,
    Decoder& candidate,
    std::span<const std::int32_t> tokens,
    const QualityOptions& options) {
  if (tokens.size() < 2) {
    fail<BugError>(
        "quality: too few tokens",
        "Each place needs the token that follows it",
        "Give at least two.");
  }
  const std::array<Decoder*, 2> both = {&reference, &candidate};
  const std::size_t models = &reference == &candidate ? 1 : 2;
  std::vector<PlaceQuality> places;
  const auto take = [&](const ScoredRows& rows) {
    const std::size_t first = places.size();
    places.resize(first + rows.next.size());
    auto compare = [&](int i, int) {
      const auto place = static_cast<std::size_t>(i);
      PlaceQuality& out = places[first + place];
      if (models == 1) {
        out.nats = surprise_of(rows.row(0, place), rows.next[place]);
        out.reference_nats = out.nats;
      } else {
        out = compare_logits(
            rows.row(0, place),
            rows.row(1, place),
            rows.next[place]);
      }
    };
    ThreadPool::global().run(static_cast<int>(rows.next.size()), compare);
  };
  run_windows(
      std::span(both).first(models),
      tokens,
      {options.windows, options.stop, options.progress},
      take);
  return summarize(places);
}

}  // namespace roofline
