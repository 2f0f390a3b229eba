#include "roofline/quantize/distilled_names.h"

#include <filesystem>
#include <string>

#include <gtest/gtest.h>

#include "roofline/quantize/calibrate.h"

namespace roofline {
namespace {

CodeMatrix in_mode(QuantMode mode) {
  CodeMatrix matrix;
  matrix.format.mode = mode;
  return matrix;
}

TEST(DistilledNames, AreAffineCodesAndWholeStacksOfSuchExperts) {
  const auto checkpoint =
      Checkpoint::open(std::filesystem::path(ROOFLINE_GOLDENS) / "qwen3_moe");
  CodesByName codes;
  NameSet expected;
  std::string mixed_stack;
  std::string lacking_stack;
  for (const Tensor& tensor : checkpoint->tensors()) {
    const std::string stack = expert_stack(tensor.name);
    // Of one stack an expert has another mode, of a second one an expert has no
    // codes, and so has the head.
    std::string* own = mixed_stack.empty()     ? &mixed_stack
                       : mixed_stack == stack  ? nullptr
                       : lacking_stack.empty() ? &lacking_stack
                                               : nullptr;
    const bool first = !stack.empty() && own != nullptr;
    if (first) {
      *own = stack;
    }
    if (tensor.name == "head" || (first && own == &lacking_stack)) {
      continue;
    }
    const bool other = first && own == &mixed_stack;
    codes.emplace(
        tensor.name,
        in_mode(other ? QuantMode::mxfp4 : QuantMode::affine));
    if (stack.empty() || (stack != mixed_stack && stack != lacking_stack)) {
      expected.insert(tensor.name);
    }
  }
  ASSERT_FALSE(lacking_stack.empty());
  ASSERT_LT(expected.size(), codes.size());
  EXPECT_EQ(distilled_names(*checkpoint, codes), expected);
}

}  // namespace
}  // namespace roofline
