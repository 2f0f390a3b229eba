#include "roofline/decode/draft_model.h"

#include <gtest/gtest.h>

#include "decode/fakes.h"
#include "roofline/base/errors.h"

namespace roofline {
namespace {

using fakes::ids_of;
using fakes::ScriptedDecoder;
using Ids = std::vector<std::int32_t>;

/// Says another text for one id, or knows fewer.
class OtherTokenizer : public fakes::ByteTokenizer {
 public:
  explicit OtherTokenizer(std::int32_t size) : size_(size) {}
  std::int32_t vocab_size() const override { return size_; }
  std::string token_text(std::int32_t id) const override {
    return id == 'q' ? "Q" : fakes::ByteTokenizer::token_text(id);
  }

 private:
  std::int32_t size_;
};

std::string difference(const Tokenizer& model, const Tokenizer& draft) {
  try {
    require_same_tokens(model, draft);
  } catch (const UserError& error) {
    return error.what();
  }
  return "";
}

class FewerTokens : public fakes::ByteTokenizer {
  std::int32_t vocab_size() const override { return fakes::kVocab - 1; }
};

TEST(RequireSameTokens, NamesTheFirstDifference) {
  const fakes::ByteTokenizer bytes;
  EXPECT_EQ(difference(bytes, bytes), "");
  const auto other = difference(bytes, OtherTokenizer(fakes::kVocab));
  EXPECT_NE(
      other.find("Token 113 is \"q\" in the model and \"Q\""),
      std::string::npos)
      << other;
  const auto fewer = difference(bytes, FewerTokens());
  EXPECT_NE(fewer.find("Token 257 is \"</s>\""), std::string::npos) << fewer;
  EXPECT_NE(fewer.find("isn't in the draft model"), std::string::npos);
  const auto more = difference(FewerTokens(), bytes);
  EXPECT_NE(more.find("isn't in the model"), std::string::npos) << more;
}

class Draft : public ::testing::Test {
 protected:
  void begin(const std::string& text) {
    decoder = std::make_unique<ScriptedDecoder>(fakes::says(text, 4));
    model = std::make_unique<DraftModel>(*decoder, fakes::kVocab);
    SamplingOptions sampling;
    sampling.temperature = 0;
    model->begin({}, sampling, {});
    model->read(ids_of("Sing"), {});
    decoder->calls.clear();
  }

  Ids guess(const std::string& history, int most) {
    const Ids ids = ids_of(history);
    const auto drawn = static_cast<int>(ids.size()) - 4;
    const auto guesses = model->guess({ids, 0, drawn, &stops}, most);
    return {guesses.tokens.begin(), guesses.tokens.end()};
  }

  StopTokens stops{Ids{fakes::kEos}, Ids{}, {}};
  std::unique_ptr<ScriptedDecoder> decoder;
  std::unique_ptr<DraftModel> model;
};

TEST_F(Draft, SaysWhatItWouldSayNext) {
  begin("abcdefgh");
  EXPECT_EQ(guess("Sing", 3), ids_of("abc"));
  // The prompt's last token had not been read, and the last guess never is.
  EXPECT_EQ(decoder->calls, (std::vector<Ids>{{'g'}, {'a'}, {'b'}}));
}

TEST_F(Draft, RunsOnlyWhatItHasNotReadAfterRightAndWrongGuesses) {
  begin("abcdefgh");
  guess("Sing", 3);
  decoder->calls.clear();
  EXPECT_EQ(guess("Singabcd", 2), ids_of("ef"));
  EXPECT_EQ(decoder->calls, (std::vector<Ids>{{'c', 'd'}, {'e'}}));
  decoder->calls.clear();
  EXPECT_EQ(guess("SingabcdX", 1), ids_of("f"));
  EXPECT_EQ(decoder->calls, (std::vector<Ids>{{'X'}}));
}

TEST_F(Draft, StopsWhereTheAnswerWouldEnd) {
  begin("ab");
  EXPECT_EQ(guess("Sing", 6), ids_of("ab"));
}

TEST_F(Draft, GuessesNothingBeyondItsContextOrItsTokens) {
  begin("abcd");
  const Ids history = ids_of("Sing");
  EXPECT_TRUE(model->can_guess(history, 8));
  EXPECT_FALSE(model->can_guess(Ids{fakes::kVocab}, 1));
  EXPECT_FALSE(model->can_guess(Ids(4090, 'a'), 8));
  EXPECT_TRUE(model->can_guess(Ids(4088, 'a'), 8));
}

TEST_F(Draft, DrawsWithTheNumbersOfTheTokensItGuessesAt) {
  // With the same logits and the same seed every guess comes true.
  ScriptedDecoder target(fakes::says("abcdefgh", 4));
  target.peak = 3.0f;
  SamplingOptions sampling;
  sampling.temperature = 1.5f;
  for (std::uint64_t seed = 1; seed < 20; ++seed) {
    sampling.seed = seed;
    begin("abcdefgh");
    decoder->peak = 3.0f;
    model->begin({}, sampling, {});
    Ids history = ids_of("Sing");
    const auto guesses = model->guess({history, 0, 0, &stops}, 4);
    const Ids guessed(guesses.tokens.begin(), guesses.tokens.end());
    Sampler sampler(sampling, {});
    Session session(target, {});
    std::span<const std::int32_t> next(history);
    for (const std::int32_t guess : guessed) {
      auto logits = *session.extend(next);
      logits.eval();
      std::vector<float> row(
          logits.data<float>(),
          logits.data<float>() + fakes::kVocab);
      EXPECT_EQ(sampler.sample(row, history).token, guess) << seed;
      history.push_back(guess);
      next = std::span<const std::int32_t>(history).last(1);
    }
  }
}

}  // namespace
}  // namespace roofline
