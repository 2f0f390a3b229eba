// One answer: the prompt through a session, then a token at a time through
// sampler, stop rules and text. Where the next tokens can be guessed, looked up
// in what was said so far or by a draft model, one step checks several of them,
// and the draws go on as if there had been one step for each.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include <mlx/array.h>
#include <mlx/device.h>

#include "roofline/decode/answer.h"
#include "roofline/decode/device_sampler.h"
#include "roofline/decode/draft_model.h"
#include "roofline/decode/draft_pace.h"
#include "roofline/decode/generate.h"
#include "roofline/decode/on_gpu.h"
#include "roofline/decode/prompt_lookup.h"
#include "roofline/decode/stop_rules.h"
#include "roofline/model/session.h"

namespace roofline {

/// Steps after which a GPU's freed buffers are given back: often enough that a
/// growing cache doesn't leave its old copies behind, rare enough to cost
/// nothing.
inline constexpr int kClearCacheSteps = 256;

/// One call of Generator::run.
class GenerateRun {
 public:
  /// What it is given must outlive it; `cancel` may be null.
  GenerateRun(
      Session& session,
      Sampler sampler,
      StopTokens stops,
      Answer& answer,
      const std::atomic<bool>* cancel);

  /// Of the draws.
  std::uint64_t seed() const { return sampler_.seed(); }
  /// Before prefill(): lets `draft`, whose answer has begun, guess as often as
  /// `pace` says. Both must outlive it.
  void use(DraftModel& draft, DraftPace& pace);
  void prefill(std::span<const std::int32_t> prompt);
  /// Call it once, after prefill().
  GenerateResult decode(const GenerateOptions& options, int max_tokens);

 private:
  using Clock = std::chrono::steady_clock;

  bool cancelled() const {
    return cancel_ != nullptr && cancel_->load(std::memory_order_relaxed);
  }
  int generated() const { return static_cast<int>(result_.tokens.size()); }
  std::size_t unconfirmed() const { return proposals_.size() - accepted_; }
  std::span<const std::int32_t> last_in_cache() const;
  DecidingLogits deciding_logits() const;
  SampledToken draw();
  void note_first_token();
  void note_token();
  void step(std::int32_t token, const GenerateOptions& options, int room);
  void look_up(int most);
  void draft(std::int32_t token, int most, bool always);
  bool can_try(std::size_t proposals) const;
  double plain_share() const;
  void end_round();
  void drop_proposals();
  FinishReason loop(const GenerateOptions& options, int max_tokens);
  bool draws_on_device(const GenerateOptions& options) const;
  mx::array draw_on_device(
      const DeviceSampler& sampler,
      const std::optional<mx::array>& unknown);
  std::int32_t read_token(mx::array token, const mx::array& row);
  FinishReason loop_on_device(const GenerateOptions& options, int max_tokens);

  Session& session_;
  Sampler sampler_;
  StopTokens stops_;
  Answer& answer_;
  const std::atomic<bool>* cancel_;
  Clock::time_point start_ = Clock::now();
  Clock::time_point first_token_;
  /// Of the next token, and in further rows of what follows each proposal.
  /// Absent when the prompt was cancelled.
  std::optional<mx::array> logits_;
  /// Whether forward() hands out work that still has to run: then text is made
  /// while it does.
  bool lazy_ = false;
  std::optional<PromptLookup> lookup_;
  /// Tokens at the session's end that were run before they were drawn. The
  /// first accepted_ were drawn since; the next draw is from the row after
  /// these.
  std::vector<std::int32_t> proposals_;
  std::size_t accepted_ = 0;
  /// Drawn tokens that a recurrent session has let go of with the proposals.
  std::vector<std::int32_t> again_;
  /// The row of logits_ that the first draw after a step is from.
  std::size_t first_row_ = 0;
  DraftModel* draft_ = nullptr;
  DraftPace* pace_ = nullptr;
  DraftRound round_;  ///< the step that runs, where a draft model may guess
  std::optional<Clock::time_point> round_start_;
  std::vector<float> row_;
  GenerateResult result_;
};

}  // namespace roofline
