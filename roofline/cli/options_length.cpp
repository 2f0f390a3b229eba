#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/cli/option_helpers.h"
#include "roofline/cli/options.h"
#include "roofline/decode/prompt_lookup.h"

namespace roofline::cli {

void LengthFlags::declare(App& app) {
  const char* group = "Length";
  add(app,
      group,
      "-n,--max-tokens",
      "N",
      max_tokens,
      "End the answer after N tokens. Default: 512, or what the context has "
      "left.");
  add(app,
      group,
      "--min-tokens",
      "N",
      min_tokens,
      "Don't end the answer before N tokens.");
  app.add_flag("--ignore-eos", ignore_eos, "Go on where the model would end.")
      ->group(group);
  add_repeatable(
      app,
      group,
      "--stop",
      "TEXT",
      stop,
      "End the answer before TEXT. May be repeated; \\n and \\t are "
      "understood.");
  add_repeatable(
      app,
      group,
      "--stop-token",
      "ID",
      stop_tokens,
      "End the answer at this token. May be repeated.");
  add(app,
      group,
      "--max-kv",
      "N",
      max_kv,
      "Keep at most N positions: the first few and the latest. The memory "
      "stays constant however long the text gets.");
  add(app,
      group,
      "--context-overflow",
      "error|roll",
      overflow,
      "When a text is longer than the context: refuse, or forget the middle. "
      "Default: error.");
  add(app,
      "Guessing",
      "--prompt-lookup",
      "N",
      prompt_lookup,
      "Look up at most N of the next tokens (to 32) in the text so far and "
      "check them in one step: faster where an answer repeats its prompt. "
      "Default: 0, off.");
}

void LengthFlags::apply(GenerateOptions& options) const {
  if (max_tokens) {
    require_at_least("--max-tokens", *max_tokens, 1);
    options.max_tokens = *max_tokens;
  }
  require_at_least("--min-tokens", min_tokens, 0);
  if (max_tokens && min_tokens > *max_tokens) {
    fail<UserError>(
        fmt::format(
            "--min-tokens {} is more than --max-tokens {}",
            min_tokens,
            *max_tokens),
        "",
        "Lower the one or raise the other");
  }
  options.min_tokens = min_tokens;
  options.ignore_eos = ignore_eos;
  for (const std::string& text : stop) {
    if (text.empty()) {
      fail<UserError>("--stop can't be empty", "", "Give it a text");
    }
  }
  options.stop = unescape_all(stop);
  options.stop_tokens.assign(stop_tokens.begin(), stop_tokens.end());
  if (max_kv) {
    require_at_least("--max-kv", *max_kv, 16);
    options.max_kv_tokens = *max_kv;
  }
  options.overflow = static_cast<ContextOverflow>(
      choose("--context-overflow", overflow, {"error", "roll"}));
  const int lookup = prompt_lookup.value_or(0);
  if (lookup < 0 || lookup > kMostPromptLookup) {
    fail<UserError>(
        fmt::format("--prompt-lookup can't be {}", lookup),
        "",
        fmt::format("It takes a number from 0 to {}", kMostPromptLookup));
  }
  options.prompt_lookup = lookup;
}

}  // namespace roofline::cli
