#include "roofline/weights/random_checkpoint.h"

#include <gtest/gtest.h>

#include <cmath>

#include "model/golden.h"
#include "roofline/model/decoder.h"

namespace roofline {
namespace {

using testing::golden_folder;
using testing::to_host;

std::vector<float> logits_of(const Checkpoint& checkpoint) {
  ModelOptions options;
  options.device = DeviceChoice::cpu;
  options.cache_packed = false;
  const auto decoder = Decoder::load(checkpoint, options);
  const auto cache = decoder->make_cache({});
  const std::vector<std::int32_t> tokens = {1, 2, 3, 5, 7};
  const Slice slice{cache.get(), tokens, LogitRows::all};
  return to_host(decoder->forward({&slice, 1}));
}

/// The golden's family and shape, without its weights.
ModelSpec spec_of(const std::string& golden) {
  return Checkpoint::open(golden_folder(golden))->spec();
}

class RandomFamilies : public ::testing::TestWithParam<const char*> {};

TEST_P(RandomFamilies, GiveFiniteLogitsThatDifferByTokenAndRepeat) {
  for (const int bits : {4, 8, 16}) {
    const auto checkpoint =
        make_random_checkpoint(spec_of(GetParam()), {bits, 32});
    const std::vector<float> logits = logits_of(*checkpoint);
    float largest = 0;
    for (const float value : logits) {
      ASSERT_TRUE(std::isfinite(value));
      largest = std::max(largest, std::abs(value));
    }
    EXPECT_GT(largest, 0.0f);
    EXPECT_LT(largest, 1000.0f);
    EXPECT_EQ(logits_of(*checkpoint), logits);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Goldens,
    RandomFamilies,
    ::testing::Values(
        "llama",
        "gemma3_text",
        "qwen3",
        "phi3",
        "granite",
        "olmo2",
        "smollm3"));

}  // namespace
}  // namespace roofline
