#include "roofline/evaluate/run_windows.h"

#include <algorithm>
#include <memory>

#include <fmt/format.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include "roofline/base/errors.h"
#include "roofline/model/session.h"

namespace roofline {

namespace {

/// Logits held at once, per model: 128 MB.
constexpr int kMostLogits = 32 << 20;
constexpr int kMostChunk = 512;

void check_vocabularies(std::span<Decoder* const> decoders) {
  for (const Decoder* decoder : decoders) {
    if (decoder->spec().vocab != decoders[0]->spec().vocab) {
      fail<UserError>(
          "The models have different vocabularies",
          fmt::format(
              "One has {} tokens, another {}: their predictions can't be "
              "compared",
              decoders[0]->spec().vocab,
              decoder->spec().vocab),
          "Compare a model with one that was made of it");
    }
  }
}

class Runner {
 public:
  Runner(
      std::span<Decoder* const> decoders,
      const RunWindowsOptions& options,
      const std::function<void(const ScoredRows&)>& take)
      : options_(options),
        take_(take),
        vocab_(decoders[0]->spec().vocab),
        chunk_(std::clamp(kMostLogits / vocab_, 1, kMostChunk)) {
    KvOptions kv;
    kv.max_chunk = chunk_;
    for (Decoder* decoder : decoders) {
      sessions_.push_back(std::make_unique<Session>(*decoder, kv));
    }
  }

  /// targets: where ids[i + 1] is predicted from row i. False when stopped.
  bool run(std::span<const std::int32_t> ids, std::size_t first_target) {
    for (auto& session : sessions_) {
      session->clear();
    }
    // Row i predicts token i + 1; the last token need not be read.
    const std::size_t first_row = first_target - 1;
    const std::size_t last = ids.size() - 1;
    const auto chunk = static_cast<std::size_t>(chunk_);
    for (std::size_t begin = 0; begin < last;) {
      if (options_.stop && options_.stop()) {
        return false;
      }
      const bool counts = begin >= first_row;
      const std::size_t count =
          std::min(chunk, (counts ? last : first_row) - begin);
      step(ids, begin, count, counts);
      begin += count;
    }
    return true;
  }

 private:
  void step(
      std::span<const std::int32_t> ids,
      std::size_t begin,
      std::size_t count,
      bool counts) {
    std::vector<mx::array> held;
    ScoredRows rows;
    for (auto& session : sessions_) {
      const auto wanted = counts ? LogitRows::all : LogitRows::last;
      mx::array logits = mx::contiguous(
          session->extend(ids.subspan(begin, count), wanted).value());
      mx::eval(logits);
      rows.logits.push_back(logits.data<float>());
      held.push_back(std::move(logits));
    }
    if (counts) {
      rows.vocab = vocab_;
      rows.next = ids.subspan(begin + 1, count);
      take_(rows);
    }
  }

  const RunWindowsOptions& options_;
  const std::function<void(const ScoredRows&)>& take_;
  int vocab_;
  int chunk_;
  std::vector<std::unique_ptr<Session>> sessions_;
};

}  // namespace

void run_windows(
    std::span<Decoder* const> decoders,
    std::span<const std::int32_t> tokens,
    const RunWindowsOptions& options,
    const std::function<void(const ScoredRows&)>& take) {
  check_vocabularies(decoders);
  const auto windows = make_windows(tokens.size(), options.windows);
  Runner runner(decoders, options, take);
  for (std::size_t i = 0; i < windows.size(); ++i) {
    const auto ids = window_tokens(tokens, windows[i], options.windows);
    if (!runner.run(ids, windows[i].first_target - windows[i].begin)) {
      return;
    }
    if (options.progress) {
      options.progress(
          static_cast<double>(i + 1) / static_cast<double>(windows.size()));
    }
  }
}

}  // namespace roofline
