// A smaller model that guesses what a larger one will say (Leviathan, Kalman
// and Matias 2023; Chen et al. 2023): it says the next few tokens one by one,
// and the larger one checks them in one step. A guess is drawn with the same
// numbers as the token it stands for, so that it comes true where both models
// give it about the same share; what is drawn never depends on the guess.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "roofline/decode/sampling.h"
#include "roofline/decode/stop_rules.h"
#include "roofline/model/session.h"
#include "roofline/text/tokenizer.h"

namespace roofline {

/// Throws UserError, naming the first difference, unless both say the same
/// with every id.
void require_same_tokens(const Tokenizer& model, const Tokenizer& draft);

/// What was drawn so far, and by which rules the next token will be.
struct DraftQuestion {
  std::span<const std::int32_t> history;
  std::uint64_t step = 0;  ///< the sampler's, of the next token
  int generated = 0;
  const StopTokens* stops = nullptr;
};

class DraftModel {
 public:
  /// decoder must outlive it. vocab: rows of logits that the model has.
  DraftModel(Decoder& decoder, int vocab);

  Decoder& decoder() { return decoder_; }
  /// Forgets the conversation.
  void reset() { session_.reset(); }
  /// Before an answer. Throws as Session's and Sampler's constructors.
  void begin(
      const KvOptions& cache,
      const SamplingOptions& sampling,
      std::vector<std::int32_t> breaker_tokens);

  /// Reads the prompt but for its last token; false when `stop` ended it.
  bool read(std::span<const std::int32_t> prompt, const Session::Stop& stop);

  /// Whether `most` tokens can be guessed after that history.
  bool can_guess(std::span<const std::int32_t> history, int most) const;
  /// Seconds to read what it missed of the history, as the prompt took.
  double catch_up_seconds(std::span<const std::int32_t> history) const;

  struct Guesses {
    std::span<const std::int32_t> tokens;  ///< until the next call
    double seconds = 0;                    ///< of the call
    double each_seconds = 0;               ///< 0: not measured
  };
  /// At most `most` tokens; fewer where an answer would end.
  Guesses guess(const DraftQuestion& question, int most);

 private:
  std::int32_t draw(const DraftQuestion& question);

  Decoder& decoder_;
  int vocab_;
  std::optional<KvOptions> cache_;
  std::unique_ptr<Session> session_;
  std::optional<Sampler> sampler_;
  double read_seconds_ = 0;  ///< a token of a prompt; 0: not known
  std::vector<std::int32_t> history_;
  std::vector<std::int32_t> guesses_;
  std::vector<float> row_;
};

}  // namespace roofline
