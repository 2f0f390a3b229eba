#include "roofline/plan/quality.h"

#include <algorithm>
#include <cmath>

#include <mlx/ops.h>
#include <mlx/transforms.h>

#include "roofline/base/errors.h"
#include "roofline/model/session.h"
#include "roofline/plan/statistics.h"

namespace roofline {

namespace {

/// log(sum(exp(x))).
double log_sum(std::span<const float> logits) {
  const double top = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) {
    sum += std::exp(static_cast<double>(logit) - top);
  }
  return top + std::log(sum);
}

std::ptrdiff_t top_of(std::span<const float> logits) {
  return std::max_element(logits.begin(), logits.end()) - logits.begin();
}

mx::array logits_of(Session& session, std::span<const std::int32_t> tokens) {
  mx::array logits =
      mx::contiguous(session.extend(tokens, LogitRows::all).value());
  mx::eval(logits);
  return logits;
}

std::span<const float> row(const mx::array& logits, std::size_t index) {
  const auto width = static_cast<std::size_t>(logits.shape(1));
  return {logits.data<float>() + index * width, width};
}

}  // namespace

double QualityReport::score() const {
  return std::exp(-mean_kl);
}

PlaceQuality compare_logits(
    std::span<const float> reference,
    std::span<const float> candidate,
    std::int32_t next) {
  const double reference_sum = log_sum(reference);
  const double candidate_sum = log_sum(candidate);
  PlaceQuality out;
  for (std::size_t i = 0; i < reference.size(); ++i) {
    const double log_p = static_cast<double>(reference[i]) - reference_sum;
    const double log_q = static_cast<double>(candidate[i]) - candidate_sum;
    out.kl += std::exp(log_p) * (log_p - log_q);
  }
  // Rounding can leave a little less than nothing.
  out.kl = std::max(out.kl, 0.0);
  out.same_top = top_of(reference) == top_of(candidate);
  const auto at = static_cast<std::size_t>(next);
  out.reference_nats = reference_sum - static_cast<double>(reference[at]);
  out.nats = candidate_sum - static_cast<double>(candidate[at]);
  return out;
}

QualityReport summarize(std::span<const PlaceQuality> places) {
  QualityReport report;
  if (places.empty()) {
    return report;
  }
  std::vector<double> kls;
  double kl = 0;
  double same = 0;
  double reference_nats = 0;
  double nats = 0;
  for (const PlaceQuality& place : places) {
    kls.push_back(place.kl);
    kl += place.kl;
    same += place.same_top ? 1 : 0;
    reference_nats += place.reference_nats;
    nats += place.nats;
  }
  const auto count = static_cast<double>(places.size());
  report.mean_kl = kl / count;
  report.p99_kl = quantile_of(kls, 0.99);
  report.top1_agreement = same / count;
  report.reference_perplexity = std::exp(reference_nats / count);
  report.perplexity = std::exp(nats / count);
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
  const bool same = &reference == &candidate;
  KvOptions kv;
  kv.max_chunk = options.chunk_tokens;
  Session first(reference, kv);
  Session second(candidate, kv);
  std::vector<PlaceQuality> places;
  const auto window = static_cast<std::size_t>(options.window_tokens);
  const auto chunk = static_cast<std::size_t>(options.chunk_tokens);
  const std::size_t last = tokens.size() - 1;
  for (std::size_t begin = 0; begin < last;) {
    if (options.stop && options.stop()) {
      break;
    }
    if (begin % window == 0) {
      first.clear();
      second.clear();
    }
    const std::size_t count =
        std::min({chunk, window - begin % window, last - begin});
    const auto part = tokens.subspan(begin, count);
    const mx::array wanted = logits_of(first, part);
    const mx::array got = same ? wanted : logits_of(second, part);
    for (std::size_t i = 0; i < count; ++i) {
      places.push_back(
          compare_logits(row(wanted, i), row(got, i), tokens[begin + i + 1]));
    }
    begin += count;
  }
  return summarize(places);
}

}  // namespace roofline
