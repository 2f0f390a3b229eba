#include "roofline/model/session.h"

#include <algorithm>

#include <mlx/ops.h>
#include <mlx/transforms.h>

#include "roofline/base/errors.h"

namespace roofline {

std::size_t common_prefix(
    std::span<const std::int32_t> a,
    std::span<const std::int32_t> b) {
  const auto end = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  return static_cast<std::size_t>(end.first - a.begin());
}

namespace {

/// A prompt's last tokens, which the next prompt may not share: what stands
/// after them marks whose turn it is, or that thinking begins.
constexpr std::size_t kTailTokens = 16;
/// A prompt must be so long before its tail is run on its own.
constexpr std::size_t kLongPrompt = 4 * kTailTokens;

bool is_recurrent(const ModelSpec& spec) {
  return std::any_of(
      spec.layers.begin(),
      spec.layers.end(),
      [](const LayerSpec& layer) { return layer.recurrent.has_value(); });
}

}  // namespace

Session::Session(Decoder& decoder, const KvOptions& options)
    : decoder_(decoder),
      cache_(decoder.make_cache(options)),
      recurrent_(is_recurrent(decoder.spec())) {}

void Session::clear() {
  cache_->clear();
  tokens_.clear();
}

/// The length of the next chunk. Where states are kept, a prompt's tail is a
/// chunk of its own, so that one stands before it.
std::size_t Session::next_chunk(std::size_t total, std::size_t left) const {
  const auto most = static_cast<std::size_t>(cache_->options().max_chunk);
  const bool split = recurrent_ && cache_->options().kept_states > 0 &&
                     total >= kLongPrompt && left > kTailTokens;
  return std::min(most, split ? left - kTailTokens : left);
}

/// False when `stop` ended it.
bool Session::run_chunks(
    std::span<const std::int32_t> tokens,
    LogitRows rows,
    const DecidingLogits& deciding,
    std::int64_t context_tokens,
    const Stop& stop,
    std::vector<mx::array>& logits) {
  const auto total = tokens.size();
  while (!tokens.empty()) {
    if (stop && stop()) {
      return false;
    }
    if (!logits.empty()) {
      // Bounds the graph, and lets go of the chunk's activations.
      mx::eval(logits.back());
    }
    const auto chunk = tokens.first(next_chunk(total, tokens.size()));
    const Slice slice{cache_.get(), chunk, rows, {}, deciding};
    auto result = decoder_.forward({&slice, 1}, context_tokens);
    if (rows == LogitRows::last) {
      logits.clear();
    }
    logits.push_back(std::move(result));
    tokens_.insert(tokens_.end(), chunk.begin(), chunk.end());
    tokens = tokens.subspan(chunk.size());
    if (total > 1) {
      cache_->keep_state();
    }
  }
  return true;
}

std::optional<mx::array> Session::extend(
    std::span<const std::int32_t> tokens,
    LogitRows rows,
    const Stop& stop,
    const DecidingLogits& deciding) {
  if (tokens.empty()) {
    fail<BugError>(
        "session: nothing to append",
        "Logits belong to a token",
        "Append at least one token.");
  }
  const auto total = static_cast<std::int64_t>(tokens_.size() + tokens.size());
  const auto regime_end = decoder_.regime_end(total);
  std::vector<mx::array> logits;
  try {
    if (!tokens_.empty() && regime_end != regime_end_) {
      const auto earlier = std::move(tokens_);
      clear();
      regime_end_ = regime_end;
      if (!run_chunks(
              earlier,
              LogitRows::last,
              deciding,
              total,
              stop,
              logits)) {
        return std::nullopt;
      }
      mx::eval(logits.back());
      logits.clear();
    }
    regime_end_ = regime_end;
    if (!run_chunks(tokens, rows, deciding, total, stop, logits)) {
      return std::nullopt;
    }
  } catch (...) {
    clear();
    throw;
  }
  return logits.size() == 1 ? logits[0] : mx::concatenate(logits, 0);
}

bool Session::can_extend_drawn() const {
  const auto total = static_cast<std::int64_t>(tokens_.size()) + 1;
  return decoder_.takes_drawn() && can_try(1) &&
         decoder_.regime_end(total) == regime_end_;
}

mx::array Session::extend_drawn(const mx::array& token) {
  constexpr std::int32_t kUnknown = 0;
  Slice slice{cache_.get(), {&kUnknown, 1}, LogitRows::last, token};
  cache_->keep_state_for_a_step();
  try {
    auto logits = decoder_.forward(
        {&slice, 1},
        static_cast<std::int64_t>(tokens_.size()) + 1);
    tokens_.push_back(kUnknown);
    return logits;
  } catch (...) {
    clear();
    throw;
  }
}

bool Session::can_try(std::int64_t tokens) const {
  const auto held = static_cast<std::int64_t>(tokens_.size());
  const auto total = held + tokens;
  // One state to go back to, and the one that extend() keeps behind the chunk.
  constexpr int kFewestStates = 2;
  if (recurrent_ && cache_->options().kept_states < kFewestStates) {
    return false;
  }
  // A ring of slots has room for one chunk beside what is seen, so within one
  // nothing is overwritten that would be missed.
  if (tokens > cache_->options().max_chunk || !cache_->can_truncate(held) ||
      decoder_.regime_end(held + 1) != decoder_.regime_end(total)) {
    return false;
  }
  const auto& layers = decoder_.spec().layers;
  return std::none_of(layers.begin(), layers.end(), [&](const auto& layer) {
    // Beyond that length these frequencies change with every token.
    const auto rope = layer.attention ? layer.attention->rope : std::nullopt;
    return rope && rope->dynamic && total > rope->dynamic->max_tokens;
  });
}

std::vector<std::int32_t> Session::go_back(std::int64_t position) {
  const auto reached = cache_->reachable(position);
  cache_->truncate(reached);
  const std::vector<std::int32_t> lost(
      tokens_.begin() + reached,
      tokens_.begin() + position);
  tokens_.resize(static_cast<std::size_t>(reached));
  return lost;
}

std::int64_t Session::keep_prefix_of(std::span<const std::int32_t> prompt) {
  const auto shared = common_prefix(tokens_, prompt);
  const auto kept = std::min(shared, prompt.empty() ? 0 : prompt.size() - 1);
  go_back(cache_->reachable(static_cast<std::int64_t>(kept)));
  return static_cast<std::int64_t>(tokens_.size());
}

}  // namespace roofline
