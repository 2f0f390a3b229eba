#include "roofline/cli/bench_room.h"

#include <algorithm>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/cli/output.h"
#include "roofline/plan/machine.h"
#include "roofline/plan/machine_facts.h"
#include "roofline/plan/memory.h"

namespace roofline::cli {

void check_room(
    const PlannedModel& model,
    std::int64_t tokens,
    int batch,
    const std::optional<WeightFormat>& format,
    const std::string& hint) {
  InferenceQuestion question;
  question.context_tokens = std::max<std::int64_t>(1, tokens);
  question.batch = std::max(1, batch);
  question.quantize = format;
  const std::uint64_t needed = predict_inference(model, question).total();
  // A card's memory or the system's: whichever is larger.
  const std::uint64_t room = std::max<std::uint64_t>(
      machine_facts().memory_bytes,
      card_memory_bytes().value_or(0));
  if (room > 0 && needed > room) {
    fail<UserError>(
        fmt::format("{} with {} tokens can't run here", model.name, tokens),
        fmt::format(
            "{} sequence{} of that length take{} {}, and this machine has {}",
            question.batch,
            question.batch > 1 ? "s" : "",
            question.batch > 1 ? "" : "s",
            format_bytes(static_cast<double>(needed)),
            format_bytes(static_cast<double>(room))),
        hint);
  }
}

void check_threads(int threads) {
  constexpr int kAlwaysAllowed = 64;
  constexpr int kPerCore = 8;
  const int most =
      std::max(kAlwaysAllowed, kPerCore * machine_facts().usable_cores);
  if (threads < 1 || threads > most) {
    fail<UserError>(
        fmt::format("--threads can't be {}", threads),
        fmt::format("{} cores are usable here", machine_facts().usable_cores),
        fmt::format("It takes numbers from 1 to {}", most));
  }
}

}  // namespace roofline::cli
