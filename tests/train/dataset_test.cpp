#include "roofline/train/dataset.h"

#include <gtest/gtest.h>

#include <set>

#include "roofline/base/errors.h"
#include "roofline/train/batches.h"
#include "train/training_helpers.h"

namespace roofline {
namespace {

using testing::ScratchFolder;
using OrderedJson = nlohmann::ordered_json;

/// A byte a token, after an offset; specials by name.
class Bytes : public Tokenizer {
 public:
  Bytes() { eos = 1; }
  std::vector<std::int32_t> encode(std::string_view text, Specials)
      const override {
    std::vector<std::int32_t> ids;
    for (const char c : text) {
      ids.push_back(10 + static_cast<unsigned char>(c));
    }
    return ids;
  }
  std::string decode(std::span<const std::int32_t> ids, bool) const override {
    std::string text;
    for (const auto id : ids) {
      text += id == 1 ? '$' : static_cast<char>(id - 10);
    }
    return text;
  }
  std::int32_t vocab_size() const override { return 266; }
  std::optional<std::int32_t> token_id(std::string_view) const override {
    return std::nullopt;
  }
  std::string token_text(std::int32_t id) const override {
    return std::to_string(id);
  }
};

constexpr std::string_view kTemplate =
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}</>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}";

class DatasetTest : public ::testing::Test {
 protected:
  std::string learned_text(const Sample& sample) const {
    std::vector<std::int32_t> ids;
    for (std::size_t i = 0; i < sample.ids.size(); ++i) {
      if (sample.learned[i] != 0) {
        ids.push_back(sample.ids[i]);
      }
    }
    return tokenizer_.decode(ids, true);
  }

  Example encode(const std::string& line, DatasetOptions options = {}) const {
    return SampleEncoder(tokenizer_, &template_, options)
        .encode(OrderedJson::parse(line));
  }

  Dataset read(const std::string& lines, DatasetOptions options = {}) const {
    const auto file = folder_.path() / "train.jsonl";
    std::ofstream(file) << lines;
    return read_dataset(
        file,
        SampleEncoder(tokenizer_, &template_, options),
        options);
  }

  std::string mistake(const std::string& lines) const {
    try {
      read(lines);
    } catch (const UserError& error) {
      return error.what();
    }
    return "none";
  }

  Bytes tokenizer_;
  ChatTemplate template_{kTemplate};
  ScratchFolder folder_{"dataset"};
};

TEST_F(DatasetTest, OfMessagesTheAssistantsTurnsAreLearnt) {
  const auto line = R"({"messages": [
    {"role": "system", "content": "S"}, {"role": "user", "content": "a"},
    {"role": "assistant", "content": "one"}, {"role": "user", "content": "b"},
    {"role": "assistant", "content": "two"}]})";
  const auto sample = encode(line).sample;
  EXPECT_EQ(
      tokenizer_.decode(sample.ids, true),
      "<system>S</><user>a</><assistant>one</><user>b</><assistant>two</>");
  EXPECT_EQ(learned_text(sample), "one</>two</>");
  DatasetOptions all;
  all.mask_prompt = false;
  EXPECT_EQ(
      learned_text(encode(line, all).sample),
      "system>S</><user>a</><assistant>one</><user>b</><assistant>two</>");
}

TEST_F(DatasetTest, CompletionsAndTextsAreLearntToTheirEnd) {
  EXPECT_EQ(
      learned_text(encode(R"({"prompt": "p", "completion": "c"})").sample),
      "c</>");
  const SampleEncoder plain(tokenizer_, nullptr, {});
  EXPECT_EQ(
      learned_text(plain
                       .encode(OrderedJson::parse(
                           R"({"prompt": "p", "completion": "c"})"))
                       .sample),
      "c$");
  EXPECT_EQ(learned_text(encode(R"({"text": "abc"})").sample), "bc$");
}

TEST_F(DatasetTest, PairsHaveTwoAnswersToOnePrompt) {
  DatasetOptions options;
  options.pairs = true;
  const auto pair =
      encode(R"({"prompt": "p", "chosen": "yes", "rejected": "no"})", options);
  EXPECT_EQ(learned_text(pair.sample), "yes</>");
  EXPECT_EQ(learned_text(pair.rejected), "no</>");
  EXPECT_THROW(encode(R"({"text": "abc"})", options), UserError);
}

TEST_F(DatasetTest, ContentInPartsIsOneText) {
  const auto sample = encode(R"({"messages": [
    {"role": "user", "content": [{"type": "text", "text": "a"},
                                 {"type": "text", "text": "b"}]},
    {"role": "assistant", "content": null, "tool_calls": []},
    {"role": "assistant", "content": "c"}]})")
                          .sample;
  EXPECT_EQ(
      tokenizer_.decode(sample.ids, true),
      "<user>ab</><assistant></><assistant>c</>");
  EXPECT_EQ(
      tokenizer_.decode(
          encode(R"({"messages": [{"role": "user", "content": ["a", "b"]},
                     {"role": "assistant", "content": "c"}]})")
              .sample.ids,
          true),
      "<user>ab</><assistant>c</>");
  // A list of messages may stand for either half, too.
  EXPECT_EQ(
      learned_text(encode(R"({"prompt": [{"role": "user", "content": "p"}],
                     "completion": [{"role": "assistant", "content": "c"}]})")
                       .sample),
      "c</>");
}

TEST_F(DatasetTest, LinesWithToolsAreCounted) {
  const auto set =
      read(R"({"tools": [{"name": "f"}], "messages": [{"role": "assistant",)"
           R"( "content": "x", "tool_calls": [1]}]})"
           "\n{\"tools\": [], \"text\": \"abc\"}\n");
  EXPECT_EQ(set.with_tools, 1);
  EXPECT_EQ(set.with_tool_calls, 1);
}

/// Without an end token an empty text has no tokens at all.
TEST_F(DatasetTest, AnEmptyTextIsLeftOut) {
  tokenizer_.eos = std::nullopt;
  const auto set = read("{\"text\": \"\"}\n{\"text\": \"abc\"}\n");
  EXPECT_EQ(set.size(), 1u);
  EXPECT_EQ(set.left_out, 1);
}

TEST_F(DatasetTest, LongSamplesAreCutOrSplitAndCounted) {
  DatasetOptions options;
  options.max_tokens = 4;
  const std::string lines =
      "{\"text\": \"abcdefghij\"}\n\n{\"text\": \"xy\"}\n";
  const auto cut = read(lines, options);
  EXPECT_EQ(cut.truncated, 1);
  EXPECT_EQ(cut.cut_tokens, 6);
  ASSERT_EQ(cut.examples.size(), 2u);
  EXPECT_EQ(cut.examples[0].sample.inputs(), 4);
  options.split_long = true;
  const auto split = read(lines, options);
  EXPECT_EQ(split.truncated, 0);
  std::string learned;
  for (const auto& example : split.examples) {
    EXPECT_LE(example.sample.inputs(), 4);
    learned += learned_text(example.sample);
  }
  EXPECT_EQ(learned, "bcdefghij$y$") << "every token once";
}

TEST_F(DatasetTest, MistakesNameFileLineAndReason) {
  const auto good = "{\"text\": \"ab\"}\n";
  for (const auto& [line, reason] :
       std::vector<std::pair<std::string, std::string>>{
           {"{\"text\": }", "isn't JSON. column 10: "},
           {"{\"prompt\": \"p\"}", "needs a \"completion\""},
           {"{\"chosen\": \"a\", \"rejected\": \"b\"}", "--loss dpo"},
           {"{\"messages\": [{\"role\": \"user\", \"content\": 5}]}",
            "must be a text"},
           {"{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": "
            "\"image\"}]}]}",
            "is no text"},
           {"[1]", "must be a JSON object"},
           {"{\"words\": 1}", "none of the known keys"},
           {"{\"messages\": []}", "list of messages"},
           {"{\"text\": \"a\", \"tools\": \"f\"}", "\"tools\" must be a list"},
           {"{\"text\": \"a\", \"tools\": [\"f\"]}",
            "must be a list of objects"},
           {"{\"messages\": [{\"content\": \"x\"}]}", "\"role\""},
           {"{\"prompt\": 3, \"completion\": \"c\"}", "\"prompt\" must be"}}) {
    const auto told = mistake(good + line + "\n");
    EXPECT_NE(told.find("train.jsonl:2"), std::string::npos) << told;
    EXPECT_NE(told.find(reason), std::string::npos) << told;
  }
  EXPECT_NE(mistake("\n").find("nothing to learn from"), std::string::npos);
}

TEST_F(DatasetTest, ALargeSetStaysInItsFileAndReadsTheSame) {
  std::string lines;
  for (const char* text : {"one", "two and more", "three", "a fourth one"}) {
    lines += OrderedJson{{"text", text}}.dump() + "\n\n";
  }
  DatasetOptions options;
  options.max_tokens = 5;
  options.split_long = true;
  const Dataset kept = read(lines, options);
  options.most_kept_tokens = 6;
  const SampleEncoder encoder(tokenizer_, &template_, options);
  const Dataset streamed =
      read_dataset(folder_.path() / "train.jsonl", encoder, options);
  ASSERT_TRUE(streamed.file);
  EXPECT_TRUE(streamed.examples.empty());
  EXPECT_EQ(streamed.inputs(), kept.inputs());
  EXPECT_EQ(streamed.fingerprint, kept.fingerprint);
  ASSERT_EQ(streamed.size(), kept.examples.size());
  for (const std::size_t i : {3, 0, 2, 1}) {
    EXPECT_EQ(streamed.at(i).sample.ids, kept.examples[i].sample.ids);
    EXPECT_EQ(streamed.at(i).sample.learned, kept.examples[i].sample.learned);
  }
  std::ofstream(folder_.path() / "train.jsonl") << "{}\n";
  EXPECT_THROW(streamed.at(3), UserError);
}

TEST(Batches, AnEpochHasEverySampleOnceInAnOrderOfItsOwn) {
  const std::vector<int> inputs(23, 2);
  BatchOptions options;
  options.batch = 4;
  options.seed = 5;
  std::set<std::vector<int>> orders;
  for (const int epoch : {0, 1}) {
    const auto batches = plan_epoch(inputs, options, epoch);
    EXPECT_EQ(batches.size(), 6u);
    EXPECT_EQ(batches, plan_epoch(inputs, options, epoch));
    std::vector<int> all;
    for (const auto& batch : batches) {
      all.insert(all.end(), batch.begin(), batch.end());
    }
    orders.insert(all);
    EXPECT_EQ(std::set<int>(all.begin(), all.end()).size(), 23u);
  }
  EXPECT_EQ(orders.size(), 2u);
}

TEST(Batches, PackingFillsABatchToItsTokensAndNoFurther) {
  std::vector<int> inputs(30);
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    inputs[i] = 1 + static_cast<int>(i % 7);
  }
  BatchOptions options;
  options.batch = 2;
  options.max_tokens = 10;
  options.pack = true;
  const auto batches = plan_epoch(inputs, options, 0);
  for (std::size_t b = 0; b < batches.size(); ++b) {
    int tokens = 0;
    for (const int index : batches[b]) {
      tokens += inputs[static_cast<std::size_t>(index)];
    }
    EXPECT_LE(tokens, 20);
    if (b + 1 < batches.size()) {
      EXPECT_GT(tokens, 12);
    }
  }
}

TEST(Batches, ASampleIsShiftedByOneAgainstItsTargets) {
  const auto a = testing::sample_of({5, 6, 7});
  auto b = testing::sample_of({8, 9});
  const Sample* const samples[] = {&a, &b};
  const auto batch = pack_samples(samples);
  EXPECT_EQ(batch.ids, (std::vector<std::int32_t>{5, 6, 8}));
  EXPECT_EQ(batch.targets->targets, (std::vector<std::int32_t>{6, 7, 9}));
  EXPECT_EQ(batch.first, (std::vector<int>{0, 2, 3}));
  EXPECT_EQ(batch.learned, 3);
}

}  // namespace
}  // namespace roofline
