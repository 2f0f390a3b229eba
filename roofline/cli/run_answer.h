// One answer: the prompt's tokens through the generator to standard output,
// stopped by signals and by a closed output, and told in one line of truth.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include <nlohmann/json.hpp>

#include "roofline/cli/loaded_model.h"

namespace roofline::cli {

enum class Stream {
  text,    ///< pieces go to standard output as they come
  silent,  ///< the caller prints the result
};

struct AnswerRun {
  GenerateResult result;
  int signal = 0;  ///< that cut it short; 0 for none
};

/// Runs the prompt. Throws what the generator throws, OutputClosed, and
/// UserError when standard output can't be written.
AnswerRun run_answer(
    LoadedModel& loaded,
    std::span<const std::int32_t> prompt,
    const GenerateOptions& options,
    Stream stream);

/// "stop", "length", "cancelled": how an answer ended.
std::string finish_reason_name(FinishReason reason);

/// Tokens with their log-probabilities and alternatives, one JSON object each.
nlohmann::ordered_json logprobs_json(
    const GenerateResult& result,
    const Tokenizer& tokenizer);
/// The same as a table for people.
std::string logprobs_table(
    const GenerateResult& result,
    const Tokenizer& tokenizer);

}  // namespace roofline::cli
