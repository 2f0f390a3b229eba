#include "roofline/kernels/token_loss/graph_token_loss.h"

#include <memory>
#include <vector>

#include <gtest/gtest.h>
#include <mlx/memory.h>
#include <mlx/ops.h>
#include <mlx/random.h>
#include <mlx/transforms.h>

namespace roofline {
namespace {

using Arrays = std::vector<mx::array>;

mx::array random(mx::Shape shape, int seed) {
  return mx::random::normal(
      std::move(shape),
      mx::float32,
      0.0f,
      0.3f,
      mx::random::key(seed));
}

TokenHead product_head(const mx::array& matrix) {
  TokenHead head;
  head.parameters = {matrix};
  head.logits = [](const mx::array& rows, const Arrays& values) {
    return mx::matmul(rows, mx::transpose(values[0]));
  };
  return head;
}

TokenTargets targets_of(int tokens, int vocabulary) {
  TokenTargets t;
  for (int i = 0; i < tokens; ++i) {
    t.targets.push_back(i * 7 % vocabulary);
    t.weights.push_back(i % 3 == 0 ? 0.0f : 0.01f * (1 + i % 5));
  }
  return t;
}

mx::array loss_of_whole_logits(const Arrays& in, const TokenTargets& t) {
  const int tokens = static_cast<int>(t.targets.size());
  const auto logits = mx::matmul(in[0], mx::transpose(in[1]));
  const mx::array ids(t.targets.data(), {tokens, 1});
  const auto nll = mx::subtract(
      mx::logsumexp(logits, 1),
      mx::squeeze(mx::take_along_axis(logits, ids, 1), 1));
  const mx::array weights(t.weights.data(), {tokens});
  return mx::sum(mx::multiply(nll, weights), 0, /*keepdims=*/true);
}

// Rows of weight 0 are left out.
TEST(GraphTokenLoss, AFewRowsAfterTheOtherGiveTheGradientOfWholeLogits) {
  constexpr int kTokens = 60;
  constexpr int kVocabulary = 37;
  const auto t = targets_of(kTokens, kVocabulary);
  const auto gradients = [&](const auto& loss) {
    const Arrays in{random({kTokens, 12}, 1), random({kVocabulary, 12}, 2)};
    auto [value, found] = mx::vjp(
        [&](const Arrays& arguments) { return Arrays{loss(arguments)}; },
        in,
        {mx::ones({1})});
    found.push_back(value[0]);
    mx::eval(found);
    return found;
  };
  const auto whole =
      gradients([&](const Arrays& in) { return loss_of_whole_logits(in, t); });
  for (const int rows : {1, 7, 16}) {
    const auto parts = gradients([&](const Arrays& in) {
      return graph_token_loss(in[0], product_head(in[1]), t, rows * kVocabulary)
          .loss;
    });
    for (std::size_t i = 0; i < whole.size(); ++i) {
      EXPECT_TRUE(mx::allclose(whole[i], parts[i], 1e-5, 1e-6).item<bool>())
          << rows << " rows at once, " << i;
      EXPECT_GT(mx::max(mx::abs(whole[i])).item<float>(), 1e-4f);
    }
  }
}

TEST(GraphTokenLoss, TheLogitsOfAWholeBatchNeverExist) {
  constexpr int kTokens = 1024;
  constexpr int kVocabulary = 4096;  // 16.8 MB of logits
  constexpr int kDim = 8;
  const auto t = targets_of(kTokens, kVocabulary);
  const Arrays in{random({kTokens, kDim}, 1), random({kVocabulary, kDim}, 2)};
  mx::eval(in);
  mx::clear_cache();
  mx::reset_peak_memory();
  const std::size_t before = mx::get_active_memory();
  const auto loss = [&](const Arrays& arguments) {
    auto head = product_head(arguments[1]);
    // 0.5 MB of logits at once.
    return Arrays{
        graph_token_loss(arguments[0], head, t, 32 * kVocabulary).loss};
  };
  auto found = mx::vjp(loss, in, {mx::ones({1})}).second;
  mx::eval(found);
  EXPECT_LT(mx::get_peak_memory() - before, std::size_t{6'000'000});
}

}  // namespace
}  // namespace roofline
