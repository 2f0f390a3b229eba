// GGUF files of every architecture as llama.cpp's conversion writes them: the
// logits are those of the reference implementation on the same weights.
#include <gtest/gtest.h>

#include "model/golden.h"

namespace roofline {
namespace {

namespace fs = std::filesystem;

using testing::chunked_logits;
using testing::max_error;

const fs::path kFolder = fs::path(ROOFLINE_TEST_DATA) / "gguf" / "families";

std::vector<std::string> architectures() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(kFolder)) {
    if (entry.path().extension() == ".gguf") {
      names.push_back(entry.path().stem().string());
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

class GgufFamily : public ::testing::TestWithParam<std::string> {};

TEST_P(GgufFamily, GivesTheReferenceLogits) {
  const auto arrays = mx::load_safetensors(
                          (kFolder / "expected.safetensors").string(),
                          mx::default_stream(mx::Device::cpu))
                          .first;
  const auto ids = testing::rows_of<std::int32_t>(
      mx::reshape(arrays.at(GetParam() + ".ids"), {1, -1}))[0];
  const auto expected = testing::to_host(arrays.at(GetParam() + ".logits"));
  const auto checkpoint = Checkpoint::open(kFolder / (GetParam() + ".gguf"));
  ModelOptions options;
  options.device = DeviceChoice::cpu;
  options.exact = true;
  options.cache_packed = false;
  const auto decoder = Decoder::load(*checkpoint, options);
  for (const std::size_t chunk : {ids.size(), std::size_t{5}}) {
    EXPECT_LT(max_error(chunked_logits(*decoder, ids, chunk), expected), 0.01)
        << "in chunks of " << chunk;
  }
}

INSTANTIATE_TEST_SUITE_P(
    All,
    GgufFamily,
    ::testing::ValuesIn(architectures()),
    [](const auto& info) {
      std::string name = info.param;
      std::replace(name.begin(), name.end(), '-', '_');
      return name;
    });

}  // namespace
}  // namespace roofline
