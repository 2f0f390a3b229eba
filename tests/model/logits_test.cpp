#include "roofline/model/logits.h"

#include <gtest/gtest.h>

#include <unistd.h>

#include <fstream>

#include "model/golden.h"
#include "roofline/base/errors.h"

namespace roofline {
namespace {

using testing::max_error;
using testing::open_golden;

class Logits : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(::testing::TempDir()) /
              ("roofline_logits_" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::vector<TokenIds> read(const std::string& text) const {
    const auto path = folder_ / "ids.json";
    std::ofstream(path) << text;
    return read_token_ids(path);
  }
  std::string why_not(const std::string& text) const {
    try {
      read(text);
    } catch (const UserError& error) {
      return error.what();
    }
    return "";
  }

  std::filesystem::path folder_;
};

TEST_F(Logits, ReadsAListOfListsOfIds) {
  const std::vector<TokenIds> expected = {{1, 2, 3}, {4, 5, 2147483647}};
  EXPECT_EQ(read("[[1,2,3],[4,5,2147483647]]"), expected);
}

TEST_F(Logits, SaysBothLengthsOfUnequalLists) {
  const auto why = why_not("[[1,2,3],[1,2,3],[4,5]]");
  EXPECT_NE(why.find("List 3 has 2 ids and the first one 3"), why.npos) << why;
}

TEST_F(Logits, RefusesWhatIsNoListOfListsOfIds) {
  for (const auto* text :
       {"",
        "[",
        "{}",
        "[]",
        "[[]]",
        "[1,2]",
        "[[1],2]",
        "[[1.5]]",
        "[[-1]]",
        "[[\"1\"]]",
        "[[true]]",
        "[[[1]]]",
        "[[2147483648]]",
        "[[9223372036854775808]]",
        "[[18446744073709551615]]",
        "[[1e3]]"}) {
    EXPECT_NE(why_not(text), "") << text;
  }
  EXPECT_THROW(read_token_ids(folder_ / "absent.json"), UserError);
}

TEST_F(Logits, WritesTheReferenceLogitsOfABatch) {
  const auto golden = open_golden("llama");
  const auto decoder = testing::load_exact_graph(golden);
  const auto path = folder_ / "out.safetensors";
  write_logits(*decoder, golden.ids, path);
  const auto arrays =
      mx::load_safetensors(path.string(), mx::default_stream(mx::Device::cpu))
          .first;
  ASSERT_EQ(arrays.size(), 1u);
  const auto& logits = arrays.at("logits");
  EXPECT_EQ(logits.dtype(), mx::float32);
  EXPECT_EQ(logits.shape(), mx::Shape({2, 40, decoder->spec().vocab}));
  const auto rows = testing::rows_of<float>(logits);
  for (int i = 0; i < 2; ++i) {
    EXPECT_LT(max_error(rows[i], golden.logits[i]), 0.01);
  }
}

TEST_F(Logits, AnIdOutsideTheVocabularyIsNamedAndNoFileAppears) {
  const auto golden = open_golden("llama");
  const auto decoder = testing::load_exact_graph(golden);
  const auto path = folder_ / "out.safetensors";
  try {
    write_logits(*decoder, {{1, 2}, {3, 256}}, path);
    FAIL() << "256 is outside";
  } catch (const UserError& error) {
    const std::string why = error.what();
    EXPECT_NE(why.find("List 2 holds the token id 256"), why.npos) << why;
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(Logits, APathThatIsAFolderIsAnError) {
  const auto golden = open_golden("llama");
  const auto decoder = testing::load_exact_graph(golden);
  EXPECT_THROW(write_logits(*decoder, {{1, 2}}, folder_), UserError);
  EXPECT_TRUE(std::filesystem::is_directory(folder_));
}

TEST_F(Logits, ASequenceLongerThanAChunkIsTheSameInAnyChunks) {
  const auto golden = open_golden("phi3_longrope");
  const auto decoder = testing::load_exact_graph(golden);
  TokenIds ids;
  for (int i = 0; i < 700; ++i) {
    ids.push_back((i * 37 + 11) % decoder->spec().vocab);
  }
  const auto whole = testing::to_host(run_logits(*decoder, ids, 700));
  const auto pieces = testing::to_host(run_logits(*decoder, ids, 64));
  EXPECT_LT(max_error(pieces, whole), 0.001);
}

}  // namespace
}  // namespace roofline
