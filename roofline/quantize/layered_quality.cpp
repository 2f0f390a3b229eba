#include "roofline/quantize/layered_quality.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include "roofline/base/errors.h"
#include "roofline/base/thread_pool.h"
#include "roofline/quantize/calibrate.h"
#include "roofline/quantize/codes.h"
#include "roofline/weights/expert_tensors.h"

namespace roofline {

namespace {

/// Logits that are held at once, of each model: 64 MB.
constexpr std::int64_t kMostLogits = std::int64_t{16} << 20;

/// A window's rows of the residual stream that predict a token that counts.
struct Places {
  int begin = 0;
  std::vector<std::int32_t> next;
};

/// One model's way from its last layer to logits, a piece of the vocabulary at
/// a time.
class LastRows {
 public:
  LastRows(
      const Checkpoint& checkpoint,
      const TextStream& stream,
      std::span<const Places> windows)
      : checkpoint_(checkpoint), head_(checkpoint.spec(), checkpoint) {
    for (std::size_t w = 0; w < windows.size(); ++w) {
      const int begin = windows[w].begin;
      const int end = begin + static_cast<int>(windows[w].next.size());
      const mx::array x = head_.normed(stream.at(w));
      normed_.push_back(
          mx::contiguous(mx::slice(x, {begin, 0}, {end, x.shape(1)})));
      mx::eval(normed_.back());
    }
  }

  void load(int first, int rows) {
    const Tensor& matrix = checkpoint_.at(head_.name());
    first_ = first;
    rows_.reset();  // before the next are there
    rows_ = std::make_shared<const FloatMatrix>(
        read_rows(matrix, first, rows, ThreadPool::global()));
    checkpoint_.release(row_slice(matrix, first, rows));
  }

  mx::array logits(std::size_t window) const {
    auto logits =
        mx::contiguous(head_.logits_of_rows(normed_[window], rows_, first_));
    mx::eval(logits);
    return logits;
  }

 private:
  const Checkpoint& checkpoint_;
  LayeredModel::Head head_;
  std::vector<mx::array> normed_;  ///< [places, dim] a window
  std::shared_ptr<const FloatMatrix> rows_;
  int first_ = 0;
};

void add_window(
    const mx::array& wanted,
    const mx::array& got,
    std::span<PlaceTally> tallies) {
  const auto width = static_cast<std::size_t>(wanted.shape(1));
  auto compare = [&](int i, int) {
    const auto place = static_cast<std::size_t>(i);
    tallies[place].add(
        {wanted.data<float>() + place * width, width},
        {got.data<float>() + place * width, width});
  };
  ThreadPool::global().run(wanted.shape(0), compare);
}

std::int64_t longest_of(std::span<const Places> windows) {
  std::int64_t longest = 1;
  for (const Places& places : windows) {
    longest = std::max<std::int64_t>(longest, std::ssize(places.next));
  }
  return longest;
}

/// All places' comparisons, window by window, so many rows of the heads at a
/// time; none if it was stopped. progress: told the share that is done.
std::vector<PlaceQuality> compare_heads(
    LastRows& reference,
    LastRows& candidate,
    std::span<const Places> windows,
    int vocab,
    int piece,
    const std::function<bool()>& stop,
    const std::function<void(double)>& progress) {
  std::vector<std::vector<PlaceTally>> tallies;
  for (const Places& places : windows) {
    tallies.emplace_back(places.next.begin(), places.next.end());
  }
  for (int first = 0; first < vocab; first += piece) {
    const int rows = std::min(piece, vocab - first);
    reference.load(first, rows);
    candidate.load(first, rows);
    for (std::size_t w = 0; w < windows.size(); ++w) {
      if (stop()) {
        return {};
      }
      add_window(reference.logits(w), candidate.logits(w), tallies[w]);
    }
    progress(static_cast<double>(first + rows) / vocab);
  }
  std::vector<PlaceQuality> out;
  for (const auto& window : tallies) {
    for (const PlaceTally& tally : window) {
      out.push_back(tally.quality());
    }
  }
  return out;
}

}  // namespace

int compared_rows(
    const ModelSpec& spec,
    std::int64_t longest_window,
    std::int64_t piece_weights) {
  const std::int64_t rows =
      std::min(piece_weights / spec.dim, kMostLogits / longest_window);
  return static_cast<int>(std::clamp<std::int64_t>(rows, 1, spec.vocab));
}

QualityReport measure_layered(
    const Checkpoint& reference,
    const Checkpoint& candidate,
    std::span<const std::int32_t> tokens,
    const QualityOptions& options,
    std::int64_t piece_weights) {
  const int vocab = reference.spec().vocab;
  if (vocab != candidate.spec().vocab) {
    fail<UserError>(
        "The models have different vocabularies",
        fmt::format("{} and {} tokens", vocab, candidate.spec().vocab),
        "Compare a model with one that was made of it");
  }
  const auto windows = make_windows(tokens.size(), options.windows);
  std::vector<std::vector<std::int32_t>> ids;
  std::vector<Places> places;
  for (const Window& window : windows) {
    ids.push_back(window_tokens(tokens, window, options.windows));
    const auto target =
        static_cast<std::ptrdiff_t>(window.first_target - window.begin);
    places.push_back(
        {static_cast<int>(target) - 1,
         {ids.back().begin() + target, ids.back().end()}});
  }
  const auto tell = [&](double share) {
    if (options.progress) {
      options.progress(share);
    }
  };
  const auto stopped = [&] { return options.stop && options.stop(); };
  const auto run = [&](const Checkpoint& checkpoint, double from) {
    const auto go_on = [&](double share) {
      tell(from + 0.4 * share);
      return !stopped();
    };
    return LastRows(checkpoint, run_all_layers(checkpoint, ids, go_on), places);
  };
  LastRows first = run(reference, 0.0);
  LastRows second = run(candidate, 0.4);
  return summarize(compare_heads(
      first,
      second,
      places,
      vocab,
      compared_rows(reference.spec(), longest_of(places), piece_weights),
      stopped,
      [&](double share) { tell(0.8 + 0.2 * share); }));
}

}  // namespace roofline
