#include "roofline/cli/run_answer.h"

#include <exception>

#include <fmt/format.h>

#include "roofline/cli/keep_answer.h"
#include "roofline/cli/output.h"
#include "roofline/cli/signals.h"

namespace roofline::cli {

namespace {

std::string quoted(const Tokenizer& tokenizer, std::int32_t token) {
  const nlohmann::json text = tokenizer.token_text(token);
  return text.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

AnswerRun run_answer(
    LoadedModel& loaded,
    std::span<const std::int32_t> prompt,
    const GenerateOptions& options,
    Stream stream) {
  InterruptGuard interrupt;
  // Thrown again outside: the generator need not expect throws from here.
  std::exception_ptr failure;
  const auto on_text = [&](std::string_view piece) {
    if (stream == Stream::silent || failure) {
      return;
    }
    try {
      write_output(piece);
    } catch (...) {
      failure = std::current_exception();
      interrupt.stop();
    }
  };
  AnswerRun answer;
  answer.result =
      loaded.generator().run(prompt, options, on_text, &interrupt.flag());
  if (failure) {
    std::rethrow_exception(failure);
  }
  answer.signal = interrupt.signal();
  keep_answer(loaded, answer.result.stats, options);
  return answer;
}

std::string finish_reason_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::stop_token:
      return "stop_token";
    case FinishReason::stop_string:
      return "stop_string";
    case FinishReason::length:
      return "length";
    case FinishReason::cancelled:
      return "cancelled";
  }
  return "unknown";
}

nlohmann::ordered_json logprobs_json(
    const GenerateResult& result,
    const Tokenizer& tokenizer) {
  auto list = nlohmann::ordered_json::array();
  for (const SampledToken& sample : result.logprobs) {
    auto top = nlohmann::ordered_json::array();
    for (const TokenLogprob& other : sample.top) {
      top.push_back(
          {{"id", other.token},
           {"token", tokenizer.token_text(other.token)},
           {"logprob", other.logprob}});
    }
    list.push_back(
        {{"id", sample.token},
         {"token", tokenizer.token_text(sample.token)},
         {"logprob", sample.logprob},
         {"top", std::move(top)}});
  }
  return list;
}

std::string logprobs_table(
    const GenerateResult& result,
    const Tokenizer& tokenizer) {
  std::string text;
  for (const SampledToken& sample : result.logprobs) {
    text += fmt::format(
        "{:>9.4f} {}",
        sample.logprob,
        quoted(tokenizer, sample.token));
    const char* separator = "  of ";
    for (const TokenLogprob& other : sample.top) {
      text += fmt::format(
          "{}{:.4f} {}",
          separator,
          other.logprob,
          quoted(tokenizer, other.token));
      separator = ", ";
    }
    text += "\n";
  }
  return text;
}

}  // namespace roofline::cli
