#include "roofline/spec/catalogue.h"

#include <cmath>
#include <set>

#include "roofline/spec/tensor_names.h"
#include "spec/spec_testing.h"

namespace roofline {
namespace {

double billions_of(const ModelSpec& spec) {
  double sum = 0;
  for (const ExpectedTensor& tensor : expected_tensors(spec)) {
    sum += static_cast<double>(tensor.rows) * static_cast<double>(tensor.cols);
  }
  return sum / 1e9;
}

class Entry : public testing::TestWithParam<CatalogueEntry> {};

TEST_P(Entry, HasAsManyParametersAsPublished) {
  const CatalogueEntry& entry = GetParam();
  const double billions = billions_of(catalogue_spec(entry));
  EXPECT_NEAR(billions, entry.billions, 0.01 * entry.billions) << entry.name;
}

TEST_P(Entry, IsFoundByItsNameAndDescribed) {
  const CatalogueEntry& entry = GetParam();
  const CatalogueEntry* found = find_in_catalogue(entry.name);
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->name, entry.name);
  EXPECT_FALSE(entry.label.empty());
  EXPECT_FALSE(describe(catalogue_spec(entry)).empty());
}

INSTANTIATE_TEST_SUITE_P(
    All,
    Entry,
    testing::ValuesIn(catalogue().begin(), catalogue().end()),
    [](const auto& info) {
      std::string name(info.param.name);
      for (char& c : name) {
        c = c == '-' || c == '.' ? '_' : c;
      }
      return name;
    });

TEST(Catalogue, IsSortedWithoutTwins) {
  std::set<std::string_view> names;
  std::string_view before;
  for (const CatalogueEntry& entry : catalogue()) {
    EXPECT_LT(before, entry.name);
    before = entry.name;
    names.insert(entry.name);
  }
  EXPECT_EQ(names.size(), catalogue().size());
  EXPECT_GE(names.size(), 70U);
}

TEST(Catalogue, TakesTheSpellingsThatPeopleUse) {
  const auto name_of = [](std::string_view name) {
    const CatalogueEntry* entry = find_in_catalogue(name);
    return entry ? std::string(entry->name) : std::string();
  };
  EXPECT_EQ(name_of("llama-2-7b"), "llama-2-7b");
  EXPECT_EQ(name_of("meta-llama/Llama-2-7b-chat-hf"), "llama-2-7b");
  EXPECT_EQ(name_of("llama2_7b"), "llama-2-7b");
  EXPECT_EQ(name_of("Meta-Llama-3-8B-Instruct"), "llama-3-8b");
  EXPECT_EQ(name_of("mistralai/Mistral-7B-Instruct-v0.1"), "mistral-7b");
  EXPECT_EQ(name_of("mistralai/Mistral-7B-Instruct-v0.3"), "mistral-7b-v0.3");
  EXPECT_EQ(name_of("Qwen/Qwen3-4B-Instruct-2507"), "qwen3-4b-2507");
  EXPECT_EQ(name_of("Qwen/Qwen3-8B-2507"), "qwen3-8b");
  EXPECT_EQ(name_of("deepseek-ai/DeepSeek-V3-0324"), "deepseek-v3");
  EXPECT_EQ(name_of("llama2:7b"), "llama-2-7b");
  EXPECT_EQ(name_of("Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf"), "llama-3.1-8b");
  EXPECT_EQ(name_of("unsloth/Llama-3.2-1B-Instruct-bnb-4bit"), "llama-3.2-1b");
  EXPECT_EQ(name_of("microsoft/Phi-3-mini-128k-instruct"), "phi-3-mini-128k");
  EXPECT_EQ(name_of("google/gemma-3-4b-it"), "gemma-3-4b");
  EXPECT_EQ(name_of("Qwen2.5-7B-Instruct-4bit"), "qwen2.5-7b");
  EXPECT_EQ(name_of("llama-2-8b"), "");
  EXPECT_EQ(name_of(""), "");
  EXPECT_EQ(name_of("v0.3"), "");
}

TEST(Catalogue, ANameSaysInHowManyBitsItIs) {
  EXPECT_EQ(bits_of_name("mlx-community/Llama-3.2-3B-Instruct-4bit"), 4);
  EXPECT_EQ(bits_of_name("qwen2.5-7b-int8"), 8);
  EXPECT_EQ(bits_of_name("llama-2-7b"), std::nullopt);
  struct Named {
    std::string_view end;
    std::optional<int> bits;
  };
  for (const Named c :
       {Named{"-Q4_K_M.gguf", 4},
        Named{".Q4_K_M.gguf", 4},
        Named{"-q8_0", 8},
        Named{"-Instruct-UD-Q2_K_XL.gguf", 2},
        Named{".IQ3_XXS.gguf", 3},
        Named{"-UD-TQ1_0", 1},
        Named{"-AWQ", 4},
        Named{"-GPTQ", 4},
        Named{"-GPTQ-Int8", 8},
        Named{"-FP8", 8},
        Named{"-bnb-4bit", 4},
        Named{"-mxfp4", 4},
        Named{"-2bit", 2},
        Named{"-3bit", 3},
        Named{"-5bit", 5},
        Named{"-6bit", 6},
        Named{"-f16", std::nullopt},
        Named{".bf16.gguf", std::nullopt}}) {
    const std::string name = "llama-2-7b" + std::string(c.end);
    EXPECT_EQ(bits_of_name(name), c.bits) << name;
    const CatalogueEntry* entry = find_in_catalogue(name);
    ASSERT_NE(entry, nullptr) << name;
    EXPECT_EQ(entry->name, "llama-2-7b");
  }
  EXPECT_EQ(find_in_catalogue("llama-2-7b-f32"), nullptr);
}

TEST(Catalogue, OffersWhatBeginsAsTheNameDoes) {
  const std::vector<std::string> near = nearest_in_catalogue("llama3");
  ASSERT_FALSE(near.empty());
  for (const std::string& name : near) {
    EXPECT_EQ(name.rfind("llama-3", 0), 0U) << name;
  }
  EXPECT_EQ(nearest_in_catalogue("llama-2-7c").front(), "llama-2-7b");
  EXPECT_TRUE(nearest_in_catalogue("").empty());
}

TEST(Mechanisms, WhatTheDecoderLacksIsRefusedByName) {
  const auto refused = [](std::string_view name) {
    const ModelSpec spec = catalogue_spec(*find_in_catalogue(name));
    return message_of<UnsupportedError>([&] { require_runnable(spec); });
  };
  expect_has(refused("llama-4-maverick"), "the exact arithmetic");
  expect_has(refused("llama-4-maverick"), "roofline memory");
  require_runnable(catalogue_spec(*find_in_catalogue("gpt2")));
  for (std::string_view name :
       {"llama-2-7b",
        "mixtral-8x7b",
        "deepseek-v3",
        "mamba2-2.7b",
        "falcon-h1-34b",
        "granite-4.0-h-small",
        "lfm2-1.2b",
        "qwen3-next-80b-a3b"}) {
    require_runnable(catalogue_spec(*find_in_catalogue(name)));
  }
}

}  // namespace
}  // namespace roofline
