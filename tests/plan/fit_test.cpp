#include "roofline/plan/fit.h"

#include <array>
#include <string>

#include <gtest/gtest.h>

#include "plan/planned_llama.h"
#include "roofline/base/errors.h"
#include "roofline/base/units.h"

namespace roofline {
namespace {

TEST(ParseMemorySize, ReadsWhatPeopleWrite) {
  for (const char* text : {"16GB", "16 GiB", "16", "16g", "16384MB"}) {
    EXPECT_EQ(parse_memory_size(text), 16 * kGib) << text;
  }
  EXPECT_EQ(parse_memory_size("0.5TB"), 512 * kGib);
  EXPECT_EQ(parse_memory_size("1.5GB"), 3 * kGib / 2);
}

TEST(ParseMemorySize, RefusesWhatIsNoSizeAndNamesTheOption) {
  for (const char* text :
       {"", "lots", "-1GB", "16XB", "nan", "1e30", "0x10GB"}) {
    try {
      parse_memory_size(text, "--max-memory");
      FAIL() << text;
    } catch (const UserError& error) {
      EXPECT_NE(
          std::string(error.what()).find("--max-memory"),
          std::string::npos)
          << error.what();
    }
  }
}

TEST(LargestContext, HoldsAndAStepMoreDoesNot) {
  InferenceQuestion question = asked(1);
  question.quantize = WeightFormat{4, 64};
  const std::uint64_t budget = 11 * kGib / 2;
  const std::int64_t most = largest_context(llama(), question, budget);
  ASSERT_GE(most, 256);
  ASSERT_LT(most, 4096);
  EXPECT_EQ(most % 256, 0);
  question.context_tokens = most;
  EXPECT_LE(predict_inference(llama(), question).total(), budget);
  question.context_tokens = most + 256;
  EXPECT_GT(predict_inference(llama(), question).total(), budget);
}

TEST(LargestContext, EndsAtTheModelsOwnAndIsZeroWhereNothingFits) {
  EXPECT_EQ(largest_context(llama(), asked(1), 1000 * kGib), 4096);
  EXPECT_EQ(largest_context(llama(), asked(1), kGib), 0);
  PlannedModel unbounded = llama();
  unbounded.spec.context_tokens = 0;
  EXPECT_EQ(largest_context(unbounded, asked(1), 1000 * kGib), 4096);
}

TEST(SettingsThatFit, TheBestQualityComesFirst) {
  const auto all = settings_that_fit(llama(), asked(4096), 1000 * kGib);
  ASSERT_EQ(all.size(), 9U);
  // An 8-bit cache loses more than 8-bit weights, a 4-bit one far more.
  constexpr std::array kWeights = {16, 8, 16, 8, 16, 8, 4, 4, 4};
  constexpr std::array kCache = {16, 16, 8, 8, 4, 4, 16, 8, 4};
  for (std::size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(all[i].format ? all[i].format->bits : 16, kWeights[i]) << i;
    EXPECT_EQ(all[i].question.kv_bits(), kCache[i]) << i;
    EXPECT_TRUE(all[i].whole);
    EXPECT_EQ(all[i].largest_context, 4096);
    EXPECT_EQ(all[i].question.prefill_step, 512);
  }
  EXPECT_EQ(all[0].format_text(llama()), "bf16");
  EXPECT_EQ(all[8].format_text(llama()), "int4 (group 64)");
}

TEST(SettingsThatFit, EachFitsAndSaysWhatItTakes) {
  const std::uint64_t budget = 8 * kGib;
  const auto some = settings_that_fit(llama(), asked(4096), budget);
  ASSERT_FALSE(some.empty());
  // 12.5 GiB of 16-bit weights can't; 6.7 GiB of 8 bits can.
  EXPECT_EQ(some.front().format->bits, 8);
  for (const FitChoice& choice : some) {
    EXPECT_LE(choice.bytes, budget);
    EXPECT_EQ(
        choice.bytes,
        predict_inference(llama(), choice.question).total());
    EXPECT_EQ(choice.whole, choice.question.context_tokens == 4096);
  }
  // What cuts the context short comes last.
  EXPECT_TRUE(some.front().whole);
  EXPECT_FALSE(some.back().whole);
}

TEST(SettingsThatFit, AShorterPrefillStepComesBeforeALesserContext) {
  InferenceQuestion question = asked(1024);
  question.quantize = WeightFormat{4, 64};
  const auto at_step = [&](int step) {
    question.prefill_step = step;
    return predict_inference(llama(), question).total();
  };
  ASSERT_LT(at_step(128), at_step(512));
  const auto choices = settings_that_fit(llama(), asked(1024), at_step(128));
  const FitChoice* found = nullptr;
  for (const FitChoice& choice : choices) {
    if (choice.format && choice.format->bits == 4 &&
        choice.question.kv_bits() == 16) {
      found = &choice;
    }
  }
  ASSERT_NE(found, nullptr);
  EXPECT_TRUE(found->whole);
  EXPECT_EQ(found->question.prefill_step, 128);
}

TEST(SettingsThatFit, AShorterStepThatLeavesLessContextIsNotTaken) {
  // Room grows with the steps, so a shorter one may end with more slack.
  for (std::uint64_t tenths = 45; tenths < 64; ++tenths) {
    const std::uint64_t budget = tenths * kGib / 10;
    for (const auto& choice : settings_that_fit(llama(), asked(4096), budget)) {
      InferenceQuestion other = choice.question;
      other.prefill_step = 512;
      EXPECT_GE(choice.largest_context, largest_context(llama(), other, budget))
          << tenths;
    }
  }
}

TEST(SettingsThatFit, CodesStayAsTheyAreStored) {
  const PlannedModel codes = quantized(llama(), {4, 64});
  const auto choices = settings_that_fit(codes, asked(2048), 1000 * kGib);
  ASSERT_EQ(choices.size(), 3U);
  EXPECT_FALSE(choices[0].format);
  EXPECT_EQ(choices[0].format_text(codes), "as stored");
}

TEST(SettingsThatFit, NothingFitsWhereFourBitsAreTooMany) {
  EXPECT_TRUE(settings_that_fit(llama(), asked(4096), 3 * kGib).empty());
}

}  // namespace
}  // namespace roofline
