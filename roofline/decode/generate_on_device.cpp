// The loop of an answer whose tokens are drawn on the device: the step after a
// token begins before the host has read it, so that the device is never idle
// while the host reads, stops and writes text. A step too many is taken back.
#include <algorithm>

#include <mlx/memory.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include "roofline/base/errors.h"
#include "roofline/decode/generate_run.h"
#include "roofline/decode/penalties.h"

namespace roofline {

bool GenerateRun::draws_on_device(const GenerateOptions& options) const {
  return options.draw_on_device.value_or(on_gpu()) && lazy_ && logits_ &&
         !draft_ && options.prompt_lookup == 0 &&
         DeviceSampler::can(options.sampling);
}

/// Begins a draw from logits_. unknown: the session's last token, where the
/// host hasn't read it.
mx::array GenerateRun::draw_on_device(
    const DeviceSampler& sampler,
    const std::optional<mx::array>& unknown) {
  const std::uint64_t step = sampler_.step();
  sampler_.go_to(step + 1);
  std::optional<mx::array> recent;
  if (sampler.counts_tokens()) {
    auto known = last_tokens(last_in_cache(), sampler.window());
    known = known.first(known.size() - (unknown ? 1 : 0));
    recent = mx::array(known.data(), {static_cast<int>(known.size())});
    if (unknown) {
      recent = mx::concatenate({*recent, *unknown}, 0);
    }
  }
  const int before = generated() + (unknown ? 1 : 0);
  auto token = sampler.draw(*logits_, recent, stops_.banned(before), step);
  // On its own: read before what follows it has run.
  mx::async_eval(token);
  return token;
}

/// row: the logits that `token` was drawn from.
std::int32_t GenerateRun::read_token(mx::array token, const mx::array& row) {
  const auto id = token.item<std::int32_t>();
  if (id < 0) {
    // The host's sampler tells what is wrong with them.
    logits_ = row;
    (void)draw();
    fail<BugError>("sampling: the device drew no token", "", "Report this");
  }
  return id;
}

FinishReason GenerateRun::loop_on_device(
    const GenerateOptions& options,
    int max_tokens) {
  const DeviceSampler sampler(options.sampling, sampler_.seed());
  auto token = draw_on_device(sampler, std::nullopt);
  while (generated() < max_tokens) {
    if (cancelled()) {
      return FinishReason::cancelled;
    }
    const auto row = *logits_;
    const bool more = generated() + 1 < max_tokens;
    const bool ahead = more && session_.can_extend_drawn();
    std::optional<mx::array> next;
    if (ahead) {
      logits_ = session_.extend_drawn(token);
      next = draw_on_device(sampler, token);
    }
    const auto id = read_token(token, row);
    note_first_token();
    if (ahead) {
      session_.confirm(id);
    }
    if (stops_.stops(id)) {
      if (ahead) {
        (void)session_.go_back(
            static_cast<std::int64_t>(session_.tokens().size()) - 1);
      }
      return FinishReason::stop_token;
    }
    result_.tokens.push_back(id);
    note_token();
    if (!answer_.push(id, generated() >= options.min_tokens)) {
      return FinishReason::stop_string;
    }
    if (more && !ahead) {
      step(id, options, 0);
      next = draw_on_device(sampler, std::nullopt);
    }
    token = next.value_or(token);
    if (generated() % kClearCacheSteps == 0 && on_gpu()) {
      mx::clear_cache();
    }
  }
  return FinishReason::length;
}

}  // namespace roofline
