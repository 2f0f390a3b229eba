#include "roofline/quantize/layered_quality.h"

#include <algorithm>

#include <fmt/format.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include "roofline/base/errors.h"
#include "roofline/base/thread_pool.h"
#include "roofline/quantize/calibrate.h"
#include "roofline/quantize/overlay.h"

namespace roofline {

namespace {

/// Rows of logits that are held at once, from each model: 64 MB.
constexpr int kMostLogits = 16 << 20;

mx::array logits_of(
    const LayeredModel::Head& head,
    const mx::array& x,
    int first,
    int count) {
  auto logits = mx::contiguous(
      head.logits(mx::slice(x, {first, 0}, {first + count, x.shape(1)})));
  mx::eval(logits);
  return logits;
}

}  // namespace

QualityReport measure_layered(
    const Checkpoint& reference,
    const Checkpoint& candidate,
    std::span<const std::int32_t> tokens,
    const QualityOptions& options) {
  const int vocab = reference.spec().vocab;
  if (vocab != candidate.spec().vocab) {
    fail<UserError>(
        "The models have different vocabularies",
        fmt::format("{} and {} tokens", vocab, candidate.spec().vocab),
        "Compare a model with one that was made of it");
  }
  const auto windows = make_windows(tokens.size(), options.windows);
  std::vector<std::vector<std::int32_t>> ids;
  for (const Window& window : windows) {
    ids.push_back(window_tokens(tokens, window, options.windows));
  }
  const auto run = [&](const Checkpoint& checkpoint, double from) {
    return run_all_layers(checkpoint, ids, [&](double share) {
      if (options.progress) {
        options.progress(from + 0.4 * share);
      }
      return !(options.stop && options.stop());
    });
  };
  const TextStream first = run(reference, 0.0);
  const TextStream second = run(candidate, 0.4);
  OverlayCheckpoint reference_head(reference), candidate_head(candidate);
  for (auto* each : {&reference_head, &candidate_head}) {
    const char* name = each->spec().tied_embeddings ? "embed" : "head";
    decode_matrices(
        each == &reference_head ? reference : candidate,
        name,
        *each);
  }
  const LayeredModel::Head one(reference.spec(), reference_head);
  const LayeredModel::Head two(candidate.spec(), candidate_head);
  const int chunk = std::max(1, kMostLogits / vocab);
  std::vector<PlaceQuality> places;
  for (std::size_t w = 0; w < windows.size(); ++w) {
    if (options.stop && options.stop()) {
      break;
    }
    const auto targets =
        static_cast<int>(windows[w].first_target - windows[w].begin);
    const auto end = static_cast<int>(ids[w].size()) - 1;
    for (int row = targets - 1; row < end; row += chunk) {
      const int count = std::min(chunk, end - row);
      const auto wanted = logits_of(one, first.at(w), row, count);
      const auto got = logits_of(two, second.at(w), row, count);
      const std::size_t begin = places.size();
      places.resize(begin + static_cast<std::size_t>(count));
      auto compare = [&](int i, int) {
        const auto width = static_cast<std::size_t>(vocab);
        const auto at = static_cast<std::size_t>(i) * width;
        places[begin + static_cast<std::size_t>(i)] = compare_logits(
            {wanted.data<float>() + at, width},
            {got.data<float>() + at, width},
            ids[w][static_cast<std::size_t>(row + i + 1)]);
      };
      ThreadPool::global().run(count, compare);
    }
    if (options.progress) {
      options.progress(
          0.8 + 0.2 * static_cast<double>(w + 1) /
                    static_cast<double>(windows.size()));
    }
  }
  return summarize(places);
}

}  // namespace roofline
