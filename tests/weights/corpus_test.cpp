#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "fuzz/targets.h"
#include "weights/temp_folder.h"

namespace roofline {
namespace {

namespace fs = std::filesystem;
using namespace roofline::testing;

const fs::path kCorpus =
    fs::path(ROOFLINE_TEST_DATA).parent_path() / "fuzz" / "corpus";

std::vector<std::string> corpus(const std::string& target) {
  std::vector<fs::path> paths;
  for (const auto& entry : fs::directory_iterator(kCorpus / target)) {
    paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  std::vector<std::string> out;
  for (const fs::path& path : paths) {
    out.push_back(read_file(path));
  }
  return out;
}

/// One change of the kind that finds faults: a bit, a byte, a whole number of
/// an extreme value, a cut, or a piece moved elsewhere.
void mutate(std::string& bytes, std::mt19937_64& random) {
  const auto below = [&](std::size_t limit) {
    return limit == 0 ? 0 : static_cast<std::size_t>(random() % limit);
  };
  constexpr std::uint64_t kExtremes[] = {
      0,
      1,
      0x7f,
      0xff,
      0x7fffffff,
      0x80000000,
      0xffffffff,
      0x7fffffffffffffff,
      0x8000000000000000,
      0xffffffffffffffff,
      0xffffffffffffffe0,
      0x4000000000000000};
  const std::size_t at = below(bytes.size());
  switch (random() % 6) {
    case 0:
      bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(8)));
      break;
    case 1:
      bytes[at] = static_cast<char>(random());
      break;
    case 2: {
      const std::uint64_t value = kExtremes[below(std::size(kExtremes))];
      const std::size_t width = std::size_t{1} << below(4);
      std::memcpy(
          bytes.data() + at,
          &value,
          std::min(width, bytes.size() - at));
      break;
    }
    case 3:
      bytes.resize(at + 1);
      break;
    case 4:
      bytes.erase(at, below(16) + 1);
      break;
    default:
      bytes.insert(at, bytes.substr(below(bytes.size()), below(64)));
  }
  if (bytes.empty()) {
    bytes.push_back('x');
  }
}

class CorpusTest : public ::testing::TestWithParam<fuzz::Target> {};

TEST_P(CorpusTest, EverySeedIsReadOrRefused) {
  const auto seeds = corpus(GetParam().name);
  ASSERT_FALSE(seeds.empty());
  for (const std::string& seed : seeds) {
    EXPECT_NO_THROW(GetParam().run(as_bytes(seed)));
  }
}

TEST_P(CorpusTest, ThousandsOfMutationsAreReadOrRefused) {
  constexpr int kRounds = 6000;
  const auto seeds = corpus(GetParam().name);
  std::mt19937_64 random(7);
  for (int i = 0; i < kRounds; ++i) {
    std::string input = seeds[random() % seeds.size()];
    // Most structure lies at the front: half of the inputs are cut there.
    if (random() % 2 == 0 && input.size() > 512) {
      input.resize(512 + random() % (input.size() - 512));
    }
    for (std::uint64_t n = 1 + random() % 4; n > 0; --n) {
      mutate(input, random);
    }
    // A copy of exactly this size, so that a sanitizer sees every overrun.
    const std::vector<char> exact(input.begin(), input.end());
    ASSERT_NO_THROW(GetParam().run(std::as_bytes(std::span(exact)))) << i;
  }
}

TEST(Corpus, TheRightFilesAreAcceptedWhole) {
  EXPECT_NO_THROW({
    const std::string llama = read_file(kCorpus / "gguf" / "llama.gguf");
    const GgufFile file(as_bytes(llama), "llama.gguf");
    EXPECT_EQ(file.tensors().size(), 11u);
    read_gguf_metadata(file.metadata(), {});
  });
  const std::string blobs = read_file(kCorpus / "blob_file" / "two.blobs");
  EXPECT_TRUE(BlobFile::parse(as_bytes(blobs), "key"));
  for (const char* name : {"llama", "scaled", "packed", "gemma3", "phi3"}) {
    const std::string config =
        read_file(kCorpus / "config" / (std::string(name) + ".json"));
    EXPECT_NO_THROW(read_config(parse_json(config, name))) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Readers,
    CorpusTest,
    ::testing::ValuesIn(fuzz::kTargets),
    [](const auto& target) { return std::string(target.param.name); });

}  // namespace
}  // namespace roofline
