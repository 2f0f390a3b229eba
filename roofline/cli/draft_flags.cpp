#include "roofline/cli/draft_flags.h"

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/cli/option_helpers.h"
#include "roofline/decode/draft_pace.h"

namespace roofline::cli {

void DraftFlags::declare(App& app) {
  const char* group = "Guessing";
  add(app,
      group,
      "--draft-model",
      "MODEL",
      model,
      "A smaller model with the same tokens, which guesses what comes next; "
      "the model checks several guesses in one step. The answer stays the "
      "same.");
  add(app,
      group,
      "--num-draft-tokens",
      "N",
      tokens,
      "Guess at most N tokens a step (to 32); fewer, or none, where that is "
      "faster. Only with --draft-model. Default: 8.");
}

void DraftFlags::fill(const RunSettings& settings) {
  if (model.empty() && settings.draft_model) {
    model = *settings.draft_model;
    if (!tokens) {
      tokens = settings.num_draft_tokens;
    }
  }
}

void DraftFlags::apply(GenerateOptions& options) const {
  if (model.empty()) {
    if (tokens) {
      fail<UserError>(
          "--num-draft-tokens needs --draft-model",
          "Without it nothing guesses",
          "Add --draft-model MODEL, or leave --num-draft-tokens out");
    }
    return;
  }
  options.num_draft_tokens = tokens.value_or(kDefaultDraftTokens);
  if (options.num_draft_tokens < 1 ||
      options.num_draft_tokens > kMostDraftTokens) {
    fail<UserError>(
        fmt::format("--num-draft-tokens can't be {}", options.num_draft_tokens),
        "",
        fmt::format("It takes a number from 1 to {}", kMostDraftTokens));
  }
}

}  // namespace roofline::cli
