#include "roofline/evaluate/choices.h"

#include <algorithm>

#include <fmt/format.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>
#include <nlohmann/json.hpp>

#include "roofline/base/errors.h"
#include "roofline/decode/chat.h"
#include "roofline/model/session.h"

namespace roofline {

using nlohmann::json;

namespace {

constexpr int kChunkTokens = 256;

[[noreturn]] void fail_line(
    const std::string& label,
    int line,
    const std::string& why) {
  fail<UserError>(
      fmt::format("{}:{}: no multiple-choice question", label, line),
      why,
      "Write {\"question\": \"…\", \"choices\": [\"…\", \"…\"], \"answer\": 0} "
      "on one line");
}

/// An index, the text of a choice, or a letter.
std::size_t answer_of(
    const json& value,
    const std::vector<std::string>& choices,
    const std::string& label,
    int line) {
  if (value.is_number_integer()) {
    const auto index = value.get<std::int64_t>();
    if (index >= 0 && index < static_cast<std::int64_t>(choices.size())) {
      return static_cast<std::size_t>(index);
    }
    fail_line(
        label,
        line,
        fmt::format(
            "The answer {} is no index of {} choices",
            index,
            choices.size()));
  }
  if (!value.is_string()) {
    fail_line(label, line, "\"answer\" is missing, or no index and no text");
  }
  const auto text = value.get<std::string>();
  const auto found = std::find(choices.begin(), choices.end(), text);
  if (found != choices.end()) {
    return static_cast<std::size_t>(found - choices.begin());
  }
  const auto letter = text.size() == 1 ? static_cast<std::size_t>(text[0] - 'A')
                                       : std::string::npos;
  if (letter >= choices.size()) {
    fail_line(
        label,
        line,
        "The answer \"" + text + "\" is none of the choices");
  }
  return letter;
}

ChoiceQuestion parse_line(
    std::string_view text,
    const std::string& label,
    int line) {
  const json value = json::parse(text, nullptr, /* allow_exceptions = */ false);
  if (!value.is_object()) {
    fail_line(label, line, "The line is no JSON object");
  }
  const auto question = value.find("question");
  const auto choices = value.find("choices");
  if (question == value.end() || !question->is_string()) {
    fail_line(label, line, "\"question\" is missing, or no text");
  }
  if (choices == value.end() || !choices->is_array() || choices->size() < 2) {
    fail_line(label, line, "\"choices\" is missing, or no list of two or more");
  }
  ChoiceQuestion out;
  out.question = question->get<std::string>();
  for (const json& choice : *choices) {
    if (!choice.is_string() || choice.get<std::string>().empty()) {
      fail_line(label, line, "A choice is no text, or an empty one");
    }
    out.choices.push_back(choice.get<std::string>());
  }
  const auto answer = value.find("answer");
  out.answer = answer_of(
      answer == value.end() ? json() : *answer,
      out.choices,
      label,
      line);
  return out;
}

std::vector<std::int32_t> encode(
    const Tokenizer& tokenizer,
    std::string_view text,
    BeginToken begin) {
  return begin == BeginToken::add ? encode_prompt(tokenizer, text)
                                  : tokenizer.encode(text, Specials::none);
}

std::size_t characters_of(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) {
        return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
      }));
}

/// Σ log p of the continuation's tokens.
double log_likelihood(Session& session, const EncodedChoice& choice) {
  const std::span<const std::int32_t> ids(choice.ids);
  // The row of the context's last token predicts the continuation's first.
  const auto kept = static_cast<std::size_t>(
      session.keep_prefix_of(ids.first(choice.context)));
  const std::size_t first_row = choice.context - 1;
  if (kept < first_row) {
    mx::eval(session.extend(ids.subspan(kept, first_row - kept)).value());
  }
  const std::size_t count = ids.size() - 1 - first_row;
  mx::array logits = mx::contiguous(
      session.extend(ids.subspan(first_row, count), LogitRows::all).value());
  mx::eval(logits);
  const auto vocab = static_cast<std::size_t>(logits.shape(1));
  double sum = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const std::span<const float> row(logits.data<float>() + i * vocab, vocab);
    sum -= surprise_of(row, ids[first_row + i + 1]);
  }
  return sum;
}

ChoiceScore score_question(
    Session& session,
    const Tokenizer& tokenizer,
    const ChoiceQuestion& question,
    const ChoiceOptions& options,
    std::int64_t context_tokens) {
  ChoiceScore score;
  std::vector<double> normalised;
  for (const std::string& choice : question.choices) {
    const auto encoded =
        encode_choice(tokenizer, question.question, choice, options.begin);
    if (static_cast<std::int64_t>(encoded.ids.size()) > context_tokens) {
      fail<UserError>(
          fmt::format("A question has {} tokens", encoded.ids.size()),
          fmt::format("The model's context is {}", context_tokens),
          "Leave long questions out, or take a model with a longer context");
    }
    score.log_likelihoods.push_back(log_likelihood(session, encoded));
    normalised.push_back(
        score.log_likelihoods.back() /
        static_cast<double>(characters_of(choice)));
  }
  const auto best_of = [](const std::vector<double>& values) {
    return static_cast<std::size_t>(
        std::max_element(values.begin(), values.end()) - values.begin());
  };
  score.best = best_of(score.log_likelihoods);
  score.best_normalised = best_of(normalised);
  return score;
}

}  // namespace

std::vector<ChoiceQuestion> parse_choice_questions(
    std::string_view jsonl,
    const std::string& label) {
  std::vector<ChoiceQuestion> questions;
  int line = 0;
  while (!jsonl.empty()) {
    ++line;
    const auto end = std::min(jsonl.find('\n'), jsonl.size());
    const auto text = jsonl.substr(0, end);
    jsonl.remove_prefix(std::min(jsonl.size(), end + 1));
    if (text.find_first_not_of(" \t\r") != text.npos) {
      questions.push_back(parse_line(text, label, line));
    }
  }
  if (questions.empty()) {
    fail_line(label, 1, "The file has no questions");
  }
  return questions;
}

EncodedChoice encode_choice(
    const Tokenizer& tokenizer,
    std::string_view question,
    std::string_view choice,
    BeginToken begin) {
  const auto last = question.find_last_not_of(" \t\r\n");
  const auto context = question.substr(0, last == question.npos ? 0 : last + 1);
  const std::string whole = std::string(question) + " " + std::string(choice);
  EncodedChoice out;
  out.ids = encode(tokenizer, whole, begin);
  out.context = encode(tokenizer, context, begin).size();
  if (out.context == 0) {
    const auto first = tokenizer.bos ? tokenizer.bos : tokenizer.eos;
    if (!first) {
      fail<UserError>(
          "A question is empty",
          "The model has no begin token that could stand for it",
          "Give every question a text");
    }
    out.ids.insert(out.ids.begin(), *first);
    out.context = 1;
  }
  if (out.context >= out.ids.size()) {
    // The choice melted into the context's last token.
    out.context = out.ids.size() - 1;
  }
  return out;
}

ChoiceReport score_choices(
    Decoder& decoder,
    const Tokenizer& tokenizer,
    std::span<const ChoiceQuestion> questions,
    const ChoiceOptions& options) {
  KvOptions kv;
  kv.max_chunk = kChunkTokens;
  Session session(decoder, kv);
  ChoiceReport report;
  std::vector<double> right, right_normalised;
  for (const ChoiceQuestion& question : questions) {
    if (options.stop && options.stop()) {
      break;
    }
    report.scores.push_back(score_question(
        session,
        tokenizer,
        question,
        options,
        decoder.spec().context_tokens));
    const ChoiceScore& score = report.scores.back();
    right.push_back(score.best == question.answer ? 1 : 0);
    right_normalised.push_back(
        score.best_normalised == question.answer ? 1 : 0);
    if (options.progress) {
      options.progress(
          static_cast<double>(right.size()) /
          static_cast<double>(questions.size()));
    }
  }
  report.accuracy = estimate_of(right);
  report.accuracy_normalised = estimate_of(right_normalised);
  return report;
}

}  // namespace roofline
