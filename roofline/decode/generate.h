// The loop from a prompt to text: prefill in chunks, then one token at a time
// through sampler, stop rules and stream decoder. Holds one conversation's
// cache; what a new prompt shares with it is not computed again.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "roofline/decode/sampling.h"
#include "roofline/model/decoder.h"
#include "roofline/text/tokenizer.h"

namespace roofline {

enum class ContextOverflow {
  error,  ///< say both numbers and the options
  roll,   ///< keep the first tokens and the latest
};

struct GenerateOptions {
  SamplingOptions sampling;
  int max_tokens = 512;
  int min_tokens = 0;
  bool ignore_eos = false;
  std::vector<std::string> stop;  ///< strings, found across token borders
  std::vector<std::int32_t> stop_tokens;  ///< besides the model's own
  ContextOverflow overflow = ContextOverflow::error;
  std::optional<int> max_kv_tokens;  ///< a rotating cache of this size
  int prefill_chunk = 512;
  /// Look up at most this many of the next tokens in what was said so far, and
  /// check them in one step; the answer stays the same. 0: off.
  int prompt_lookup = 0;
  /// Let the draft model guess at most this many of the next tokens where
  /// nothing was looked up. 0: off.
  int num_draft_tokens = 0;
  /// As many in every step, whether that pays or not; otherwise fewer or none
  /// where that is faster. For tests and comparisons.
  bool draft_always = false;
  /// Draw where the logits are, and begin the next step before the host knows
  /// the token, where decoder and options let it (nothing guesses, and
  /// DeviceSampler::can). Absent: on a GPU.
  std::optional<bool> draw_on_device = {};
};

/// Throws UserError naming the option and its range; the sampling options and
/// stop strings included.
void validate(const GenerateOptions& options);

enum class FinishReason { stop_token, stop_string, length, cancelled };

struct GenerateStats {
  int prompt_tokens = 0;
  int cached_tokens = 0;       ///< of the prompt, found in the cache
  int dropped_tokens = 0;      ///< of the prompt, left out because it rolled
  int generated_tokens = 0;    ///< without a stop token
  int proposed_tokens = 0;     ///< looked up (see prompt_lookup)
  int drafted_tokens = 0;      ///< guessed by the draft model
  int accepted_tokens = 0;     ///< of both, the ones that were drawn
  int accepted_drafts = 0;     ///< of these, the draft model's
  bool all_logits = true;      ///< were asked for in the last step
  double prefill_seconds = 0;  ///< 0 when the prompt was cancelled
  double draft_prefill_seconds = 0;  ///< the prompt through the draft model
  double first_token_seconds = 0;    ///< from the call to the first token
  /// When it was drawn; absent when none was.
  std::optional<std::chrono::steady_clock::time_point> first_token_at;
  double decode_seconds = 0;  ///< from the first token to the last
  /// 0 when nothing was measured.
  double prefill_tokens_per_second() const;
  double decode_tokens_per_second() const;
};

struct GenerateResult {
  /// All that was drawn, without the stop token. Those of a stop string are
  /// here, though not in `text`.
  std::vector<std::int32_t> tokens;
  std::string text;  ///< the pieces given to on_text, joined
  FinishReason finish = FinishReason::length;
  std::uint64_t seed = 0;
  std::vector<SampledToken> logprobs;  ///< one a token, when top_logprobs > 0
  GenerateStats stats;
};

class Generator {
 public:
  /// Both must outlive it.
  Generator(Decoder& decoder, const Tokenizer& tokenizer);
  ~Generator();
  Generator(Generator&&) noexcept;

  /// From now on answers with num_draft_tokens > 0 use this smaller model. Both
  /// must outlive it. Throws UserError unless it has the same tokens.
  void set_draft(Decoder& draft, const Tokenizer& tokenizer);

  /// Runs the prompt. on_text gets pieces of valid UTF-8 as they are sure to
  /// be kept (never part of a stop string); it may be empty. `cancel` is looked
  /// at between steps and between chunks of the prompt. Throws UserError when
  /// the prompt doesn't fit into the context (see ContextOverflow); an answer
  /// that would not is cut to what fits.
  GenerateResult run(
      std::span<const std::int32_t> prompt,
      const GenerateOptions& options,
      const std::function<void(std::string_view)>& on_text,
      const std::atomic<bool>* cancel = nullptr);

  /// Runs two steps on a cache of their own, so that a GPU compiles its kernels
  /// before the first prompt. Does nothing on a CPU.
  void warm_up();

  /// Forgets the conversation.
  void reset();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace roofline
