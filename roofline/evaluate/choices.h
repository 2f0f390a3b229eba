// Multiple-choice tasks: which of several continuations of a question a model
// finds likeliest, by log-likelihood, as lm-eval's multiple_choice tasks score
// them. Reads the tasks' JSON lines; docs/evaluate.md documents the format.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "roofline/evaluate/quality.h"
#include "roofline/model/decoder.h"
#include "roofline/text/tokenizer.h"

namespace roofline {

struct ChoiceQuestion {
  std::string question;
  std::vector<std::string> choices;
  std::size_t answer = 0;  ///< index of the right one
};

/// One JSON object a line: {"question": text, "choices": [text, …], "answer":
/// index | the choice's text | a letter from "A"}. Also under the names of
/// common data sets: query, ctx, context; options, endings, or {"text": […],
/// "label": […]}; answerKey, gold, label, where digits in a text are an index.
/// Empty lines are skipped.
/// label names the source in errors. Throws UserError with the line's number.
std::vector<ChoiceQuestion> parse_choice_questions(
    std::string_view jsonl,
    const std::string& label);

enum class BeginToken { add, none };

/// A question's ids and where each choice's own ids begin.
struct EncodedChoice {
  std::vector<std::int32_t> ids;  ///< context, then continuation
  std::size_t context = 0;        ///< tokens of the context, at least 1
};

/// Context: the question; continuation: a space and the choice. Both are
/// encoded together and cut where the context's own encoding ends. White space
/// at the question's end belongs to the continuation. An empty question is the
/// begin token alone (the end token where there is none).
EncodedChoice encode_choice(
    const Tokenizer& tokenizer,
    std::string_view question,
    std::string_view choice,
    BeginToken begin);

struct ChoiceScore {
  std::vector<double> log_likelihoods;  ///< natural, one a choice
  std::size_t best = 0;
  std::size_t best_normalised = 0;  ///< per character of the choice's text
};

struct ChoiceReport {
  std::vector<ChoiceScore> scores;  ///< one a question
  /// Share answered right, with the standard error sqrt(p·(1 − p) / (n − 1)).
  Estimate accuracy;
  Estimate accuracy_normalised;
};

struct ChoiceOptions {
  BeginToken begin = BeginToken::add;
  /// Looked at before each question; true ends with what there is.
  std::function<bool()> stop;
  std::function<void(double share)> progress;
};

/// Throws UserError when a question is longer than the model's context.
ChoiceReport score_choices(
    Decoder& decoder,
    const Tokenizer& tokenizer,
    std::span<const ChoiceQuestion> questions,
    const ChoiceOptions& options = {});

}  // namespace roofline
