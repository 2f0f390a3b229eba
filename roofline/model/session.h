// One sequence on a decoder: its cache and the tokens that are in it. Appends
// tokens in chunks, goes back to a prefix that a new prompt shares, and runs
// the sequence again from its start where its rope regime changes.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include <mlx/array.h>

#include "roofline/model/decoder.h"

namespace roofline {

class Session {
 public:
  /// Called between chunks; true ends the run before the next one.
  using Stop = std::function<bool()>;

  /// The decoder must outlive the session. options.dtype is the decoder's
  /// business. Throws as KvCache's constructor.
  Session(Decoder& decoder, const KvOptions& options);

  /// What is in the cache, from the start of the sequence.
  const std::vector<std::int32_t>& tokens() const { return tokens_; }
  KvCache& cache() { return *cache_; }
  const Decoder& decoder() const { return decoder_; }

  /// Appends tokens, in chunks of at most max_chunk, and returns float32 logits
  /// of the last one [1, vocab] or of all [tokens, vocab]. The last chunk's are
  /// not evaluated yet. deciding: Slice::deciding. nullopt when `stop` ended
  /// it: what ran stays in the cache. `tokens` must not be empty. After an
  /// exception the session is empty.
  std::optional<mx::array> extend(
      std::span<const std::int32_t> tokens,
      LogitRows rows = LogitRows::last,
      const Stop& stop = {},
      const DecidingLogits& deciding = {});

  /// Whether extend_drawn() can run now.
  bool can_extend_drawn() const;
  /// Appends one token [1] int32 that the device drew and the host doesn't know
  /// yet, and returns the logits after it [1, vocab], not evaluated. Until
  /// confirm() tells the token, tokens() ends with 0 in its place.
  mx::array extend_drawn(const mx::array& token);
  void confirm(std::int32_t token) { tokens_.back() = token; }

  /// Keeps what `prompt` shares with the sequence from its start, but at least
  /// one token of `prompt` is left to run; forgets the rest. Returns how many
  /// tokens stay: 0 when a cache that reuses slots can't go back so far. With
  /// recurrent layers fewer than are shared: up to the last kept state, which
  /// stands before and after each run of many tokens' last few.
  std::int64_t keep_prefix_of(std::span<const std::int32_t> prompt);

  /// Whether `tokens` more can be appended in one chunk and go_back() then take
  /// back any of them, as if they had never been there: no rope regime ends
  /// among them.
  bool can_try(std::int64_t tokens) const;
  /// Keeps the states of recurrent layers here, so that go_back() reaches this
  /// place. Costs nothing where there are none.
  void keep_state() { cache_->keep_state(); }
  /// Forgets everything from `position` on, and with recurrent layers what
  /// stands between the latest kept state and it: returns these tokens, which
  /// have to be appended again before others.
  std::vector<std::int32_t> go_back(std::int64_t position);

  /// Forgets everything; the cache's memory stays.
  void clear();

 private:
  std::size_t next_chunk(std::size_t total, std::size_t left) const;
  bool run_chunks(
      std::span<const std::int32_t> tokens,
      LogitRows rows,
      const DecidingLogits& deciding,
      std::int64_t context_tokens,
      const Stop& stop,
      std::vector<mx::array>& logits);

  Decoder& decoder_;
  std::unique_ptr<KvCache> cache_;
  bool recurrent_;
  std::vector<std::int32_t> tokens_;
  /// End of the rope regime in which the cached keys were made.
  std::int64_t regime_end_ = 0;
};

/// Length of the longest common prefix.
std::size_t common_prefix(
    std::span<const std::int32_t> a,
    std::span<const std::int32_t> b);

}  // namespace roofline
