#include "roofline/evaluate/choices.h"

#include <algorithm>

#include <fmt/format.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include "roofline/base/errors.h"
#include "roofline/decode/chat.h"
#include "roofline/model/session.h"

namespace roofline {

namespace {

constexpr int kChunkTokens = 256;

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
