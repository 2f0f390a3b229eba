#include "roofline/evaluate/choices.h"

#include <cmath>

#include <gtest/gtest.h>

#include "decode/fakes.h"
#include "roofline/base/errors.h"

namespace roofline {
namespace {

TEST(ChoiceQuestions, TakeTheAnswerAsIndexTextOrLetter) {
  const auto questions = parse_choice_questions(
      "{\"question\": \"a\", \"choices\": [\"x\", \"y\"], \"answer\": 1}\n"
      "\n"
      "{\"question\": \"b\", \"choices\": [\"x\", \"y\"], \"answer\": \"x\"}\n"
      "{\"question\": \"c\", \"choices\": [\"x\", \"y\"], \"answer\": \"B\"}",
      "test");
  ASSERT_EQ(questions.size(), 3u);
  EXPECT_EQ(questions[0].answer, 1u);
  EXPECT_EQ(questions[1].answer, 0u);
  EXPECT_EQ(questions[2].answer, 1u);
}

TEST(ChoiceQuestions, HaveTheFieldsOfCommonDataSets) {
  const auto questions = parse_choice_questions(
      "\xEF\xBB\xBF{\"question\": \"a\", \"choices\": {\"text\": [\"x\", "
      "\"y\"], "
      "\"label\": [\"1\", \"2\"]}, \"answerKey\": \"2\"}\r\n"
      "{\"ctx\": \"b\", \"endings\": [\"x\", \"y\"], \"label\": \"1\"}\n"
      "{\"query\": \"c\", \"options\": [\"x\", \"y\"], \"gold\": 0}",
      "test");
  ASSERT_EQ(questions.size(), 3u);
  EXPECT_EQ(questions[0].choices, (std::vector<std::string>{"x", "y"}));
  EXPECT_EQ(questions[0].answer, 1u) << "a label, no index";
  EXPECT_EQ(questions[1].question, "b");
  EXPECT_EQ(questions[1].answer, 1u);
  EXPECT_EQ(questions[2].answer, 0u);
}

TEST(ChoiceQuestions, TakeLabelsAndIndicesBeforeTextsThatReadTheSame) {
  const auto questions = parse_choice_questions(
      "{\"question\": \"a\", \"choices\": {\"text\": [\"2\", \"4\"], "
      "\"label\": [\"1\", \"2\"]}, \"answerKey\": \"2\"}\n"
      "{\"ctx\": \"b\", \"endings\": [\"1\", \"0\"], \"label\": \"1\"}\n"
      "{\"question\": \"c\", \"choices\": [\"1\", \"0\"], \"answer\": \"1\"}",
      "test");
  ASSERT_EQ(questions.size(), 3u);
  EXPECT_EQ(questions[0].answer, 1u);
  EXPECT_EQ(questions[1].answer, 1u);
  EXPECT_EQ(questions[2].answer, 0u);
}

TEST(ChoiceQuestions, NameTheLineOfAMistake) {
  for (const char* bad :
       {"{\"question\": \"a\", \"choices\": [\"x\", \"y\"], \"answer\": 2}",
        "{\"question\": \"a\", \"choices\": [\"x\", \"y\"]}",
        "{\"question\": \"a\", \"choices\": [\"x\"], \"answer\": 0}",
        "{\"choices\": [\"x\", \"y\"], \"answer\": 0}",
        "{\"question\": \"a\", \"choices\": [\"x\", \"y\"], \"answer\": \"z\"}",
        "{\"question\": \"a\", \"choices\": [\"x\", \"y\"], \"answer\": \"2\"}",
        "{\"question\": \"a\", \"choices\": {\"text\": [\"x\", \"y\"], "
        "\"label\": "
        "[\"A\", \"B\"]}, \"answer\": \"C\"}",
        "nonsense"}) {
    try {
      parse_choice_questions("\n" + std::string(bad), "file");
      FAIL() << bad;
    } catch (const UserError& error) {
      EXPECT_NE(std::string(error.what()).find("file:2"), std::string::npos);
    }
  }
}

TEST(EncodeChoice, PutsASpaceBetweenAndCutsAfterTheQuestion) {
  const fakes::ByteTokenizer tokenizer;
  const auto encoded = encode_choice(tokenizer, "ab", "c", BeginToken::add);
  EXPECT_EQ(
      encoded.ids,
      (std::vector<std::int32_t>{fakes::kBos, 'a', 'b', ' ', 'c'}));
  EXPECT_EQ(encoded.context, 3u);
  const auto bare = encode_choice(tokenizer, "ab ", "c", BeginToken::none);
  EXPECT_EQ(bare.ids, fakes::ids_of("ab  c"));
  EXPECT_EQ(bare.context, 2u) << "the space counts to the continuation";
}

TEST(EncodeChoice, AnEmptyQuestionIsTheBeginToken) {
  const fakes::ByteTokenizer tokenizer;
  const auto encoded = encode_choice(tokenizer, "", "c", BeginToken::none);
  EXPECT_EQ(encoded.ids.front(), fakes::kBos);
  EXPECT_EQ(encoded.context, 1u);
}

TEST(ScoreChoices, SumsTheContinuationsLogLikelihoods) {
  // At place p the model expects the letter at p of this text.
  const std::string text = "Qx yes";
  fakes::ScriptedDecoder decoder([&](std::int64_t position) -> std::int32_t {
    return position < static_cast<std::int64_t>(text.size())
               ? text[static_cast<std::size_t>(position)]
               : 'z';
  });
  const fakes::ByteTokenizer tokenizer(/* adds_bos = */ false);
  const std::vector<ChoiceQuestion> questions = {
      {"Qx", {"no", "yes", "yet"}, 1},
      {"Qx", {"no", "yes", "yet"}, 0}};
  const auto report = score_choices(decoder, tokenizer, questions);
  ASSERT_EQ(report.scores.size(), 2u);
  EXPECT_EQ(report.scores[0].best, 1u);
  const auto& likelihoods = report.scores[0].log_likelihoods;
  EXPECT_GT(likelihoods[1], likelihoods[2]);
  EXPECT_GT(likelihoods[2], likelihoods[0]);
  EXPECT_NEAR(report.accuracy.mean, 0.5, 1e-12);
  // sqrt(p·(1 − p) / (n − 1))
  EXPECT_NEAR(report.accuracy.standard_error, 0.5, 1e-12);
}

TEST(ScoreChoices, NormalisesByCharacters) {
  // Every token is equally surprising: the sum favours the short choice, the
  // mean a character the one with fewer tokens a character.
  fakes::ScriptedDecoder decoder([](std::int64_t) { return 'z'; });
  const fakes::ByteTokenizer tokenizer(/* adds_bos = */ false);
  const std::vector<ChoiceQuestion> questions = {{"Q", {"a", "abcdefgh"}, 1}};
  const auto report = score_choices(decoder, tokenizer, questions);
  EXPECT_EQ(report.scores[0].best, 0u);
  // Nine surprises over eight characters beat two over one.
  EXPECT_EQ(report.scores[0].best_normalised, 1u);
  EXPECT_EQ(report.accuracy.mean, 0.0);
  EXPECT_EQ(report.accuracy_normalised.mean, 1.0);
}

}  // namespace
}  // namespace roofline
