// Every op of training against the same mathematics in MLX's own ops, values
// and gradients, and its gradient against finite differences.
#include "roofline/kernels/train_ops.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include <mlx/mlx.h>

#include "kernels/packed_helpers.h"
#include "roofline/base/errors.h"
#include "roofline/kernels/coded_experts.h"
#include "roofline/kernels/coded_weight.h"
#include "roofline/kernels/packed_attention/packed_attention.h"
#include "roofline/kernels/token_loss/token_loss.h"

namespace roofline {
namespace {

using testing::random_floats;

using Arrays = std::vector<mx::array>;
using Fn = std::function<mx::array(const Arrays&)>;

mx::array random(mx::Shape shape, unsigned seed) {
  std::size_t size = 1;
  for (const int each : shape) {
    size *= static_cast<std::size_t>(each);
  }
  const auto values = random_floats(size, seed);
  return mx::array(values.data(), std::move(shape), mx::float32);
}

float worst_difference(const mx::array& a, const mx::array& b) {
  EXPECT_EQ(a.shape(), b.shape());
  return mx::max(mx::abs(mx::subtract(a, b))).item<float>();
}

/// A scalar that every entry of the result moves differently.
std::function<mx::array(const Arrays&)> weighed(const Fn& fn) {
  return [fn](const Arrays& in) {
    const auto y = fn(in);
    const auto weights = mx::sin(mx::reshape(
        mx::arange(static_cast<double>(y.size()), mx::float32),
        y.shape()));
    return mx::sum(mx::multiply(y, weights));
  };
}

class TrainOpsTest : public ::testing::Test {
 protected:
  TrainOpsTest() { mx::set_default_device(mx::Device(mx::Device::cpu)); }

  void expect_same(const Fn& own, const Fn& reference, const Arrays& in) {
    const auto want_value = reference(in);
    const float value_size = mx::max(mx::abs(want_value)).item<float>();
    EXPECT_LT(worst_difference(own(in), want_value), 2e-5f * (value_size + 1));
    std::vector<int> all;
    for (std::size_t i = 0; i < in.size(); ++i) {
      all.push_back(static_cast<int>(i));
    }
    const auto got = mx::grad(weighed(own), all)(in);
    const auto want = mx::grad(weighed(reference), all)(in);
    for (std::size_t i = 0; i < in.size(); ++i) {
      const float size = mx::max(mx::abs(want[i])).item<float>();
      EXPECT_LT(worst_difference(got[i], want[i]), 2e-5f * (size + 1))
          << "input " << i;
    }
    expect_slopes(own, in, got);
  }

  /// Central differences along one random direction an input.
  void expect_slopes(const Fn& fn, const Arrays& in, const Arrays& gradients) {
    const auto f = weighed(fn);
    constexpr float kStep = 1e-2f;
    for (std::size_t i = 0; i < in.size(); ++i) {
      const auto direction = random(in[i].shape(), 99);
      const auto at = [&](float step) {
        Arrays moved = in;
        moved[i] = mx::add(in[i], mx::multiply(direction, mx::array(step)));
        return f(moved).item<float>();
      };
      const float slope = (at(kStep) - at(-kStep)) / (2 * kStep);
      const float told =
          mx::sum(mx::multiply(direction, gradients[i])).item<float>();
      EXPECT_NEAR(told, slope, 5e-3f * (std::fabs(slope) + 1)) << "input " << i;
    }
  }
};

TEST_F(TrainOpsTest, ProductsOfEverySideMatchMlx) {
  for (const auto a_side : {Side::plain, Side::transposed}) {
    for (const auto b_side : {Side::plain, Side::transposed}) {
      const auto a = random(
          a_side == Side::plain ? mx::Shape{5, 19} : mx::Shape{19, 5},
          1);
      const auto b = random(
          b_side == Side::plain ? mx::Shape{19, 34} : mx::Shape{34, 19},
          2);
      const auto turned = [](const mx::array& x, Side side) {
        return side == Side::plain ? x : mx::transpose(x);
      };
      expect_same(
          [&](const Arrays& in) {
            return product(in[0], a_side, in[1], b_side);
          },
          [&](const Arrays& in) {
            return mx::matmul(turned(in[0], a_side), turned(in[1], b_side));
          },
          {a, b});
    }
  }
}

TEST_F(TrainOpsTest, WhatIsCheapIsComputedAgainInPlaceOfBeingKept) {
  const auto x = random({2000, 64}, 1);
  const auto w = random({3, 64}, 2);
  const auto loss = [&](const Arrays& in, bool cheap) {
    auto y = in[0];
    for (int i = 0; i < 4; ++i) {
      const auto rows = mx::add(y, mx::array(0.5f));
      auto normed = dropout(rms_norm_rows(rows, std::nullopt, 1e-5f), 0.5f, 3);
      if (!cheap) {
        normed = mx::multiply(normed, mx::array(1.0f));
      }
      y = mx::add(
          rows,
          mx::sum(product(normed, Side::plain, in[1], Side::transposed)));
    }
    return mx::sum(mx::square(y));
  };
  std::vector<Arrays> gradients;
  std::vector<std::size_t> held;
  for (const bool cheap : {false, true}) {
    const auto before = mx::get_active_memory();
    auto [value, gradient] = mx::value_and_grad(
        [&](const Arrays& in) { return Arrays{loss(in, cheap)}; },
        std::vector<int>{0, 1})({x, w});
    mx::eval(value);
    held.push_back(mx::get_active_memory() - before);
    mx::eval(gradient);
    gradients.push_back(gradient);
  }
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(mx::array_equal(gradients[0][i], gradients[1][i]).item<bool>());
  }
  // Four results of norms, or rather of dropout.
  EXPECT_GE(held[0], held[1] + 3 * x.nbytes());
}

TEST_F(TrainOpsTest, LowRankAdditionsMatchMlx) {
  const Arrays in{
      random({7, 40}, 1),
      random({7, 5}, 2),
      random({16, 2}, 3),
      random({20, 3}, 4)};
  const auto reference = [](const Arrays& x) {
    const auto part = [&](int from, int to, const mx::array& b, float scale) {
      return mx::multiply(
          mx::matmul(mx::slice(x[1], {0, from}, {7, to}), mx::transpose(b)),
          mx::array(scale));
    };
    const auto added = mx::concatenate(
        {part(0, 2, x[2], 0.5f),
         mx::zeros({7, 4}, mx::float32),
         part(2, 5, x[3], 2.0f)},
        1);
    return mx::add(x[0], added);
  };
  expect_same(
      [](const Arrays& x) {
        return add_low_rank(x[0], x[1], {{x[2], 0, 0.5f}, {x[3], 20, 2.0f}});
      },
      reference,
      in);
}

TEST_F(TrainOpsTest, NormsMatchMlx) {
  const Arrays in{random({6, 3, 21}, 1), random({21}, 2)};
  expect_same(
      [](const Arrays& x) { return rms_norm_rows(x[0], x[1], 1e-5f); },
      [](const Arrays& x) { return mx::fast::rms_norm(x[0], x[1], 1e-5f); },
      in);
  expect_same(
      [](const Arrays& x) { return rms_norm_rows(x[0], std::nullopt, 1e-5f); },
      [](const Arrays& x) {
        return mx::fast::rms_norm(x[0], std::nullopt, 1e-5f);
      },
      {in[0]});
}

mx::array activated(const mx::array& x, Activation activation) {
  const auto half = mx::multiply(x, mx::array(0.5f));
  const auto one = mx::array(1.0f);
  switch (activation) {
    case Activation::silu:
      return mx::multiply(x, mx::sigmoid(x));
    case Activation::gelu:
      return mx::multiply(
          half,
          mx::add(one, mx::erf(mx::multiply(x, mx::array(0.70710678f)))));
    case Activation::gelu_tanh: {
      const auto cube = mx::multiply(mx::multiply(x, x), x);
      const auto inner = mx::multiply(
          mx::add(x, mx::multiply(cube, mx::array(0.044715f))),
          mx::array(0.79788456f));
      return mx::multiply(half, mx::add(one, mx::tanh(inner)));
    }
    case Activation::relu:
      return mx::maximum(x, mx::array(0.0f));
    default:
      return mx::square(mx::maximum(x, mx::array(0.0f)));
  }
}

TEST_F(TrainOpsTest, ActivationsMatchMlxWithAndWithoutAGate) {
  // relu's kink would spoil the differences: no value stands near zero.
  const auto raw = random({5, 46}, 1);
  const auto x = mx::add(raw, mx::multiply(mx::sign(raw), mx::array(0.1f)));
  for (const auto activation :
       {Activation::silu,
        Activation::gelu,
        Activation::gelu_tanh,
        Activation::relu,
        Activation::relu_squared}) {
    expect_same(
        [&](const Arrays& in) {
          return activate_rows(in[0], activation, true);
        },
        [&](const Arrays& in) {
          const auto gate = mx::slice(in[0], {0, 0}, {5, 23});
          const auto up = mx::slice(in[0], {0, 23}, {5, 46});
          return mx::multiply(activated(gate, activation), up);
        },
        {x});
    expect_same(
        [&](const Arrays& in) {
          return activate_rows(in[0], activation, false);
        },
        [&](const Arrays& in) { return activated(in[0], activation); },
        {x});
  }
}

TEST_F(TrainOpsTest, DropoutKeepsTheMeanAndDropsTheSameEntriesBackward) {
  const auto x = mx::ones({100, 100}, mx::float32);
  const auto y = dropout(x, 0.25f, 7);
  EXPECT_NEAR(mx::mean(y).item<float>(), 1.0f, 0.03f);
  auto dropped = mx::mean(mx::equal(y, mx::array(0.0f)));
  EXPECT_NEAR(dropped.item<float>(), 0.25f, 0.02f);
  const auto gradient = mx::grad(
      [](const mx::array& in) { return mx::sum(dropout(in, 0.25f, 7)); })(x);
  EXPECT_EQ(worst_difference(gradient, y), 0.0f);
  EXPECT_GT(worst_difference(dropout(x, 0.25f, 8), y), 0.0f);
}

// ---- attention ----

struct AttentionCase {
  int heads = 4;
  int kv_heads = 2;
  int head_dim = 12;
  std::vector<int> first = {0, 5, 6, 76};
  std::optional<int> window;
  std::optional<float> softcap;
  std::optional<RopeSpec> rope;
};

RopeSpec rope(int rotated_dims, RopeLayout layout) {
  RopeSpec spec;
  spec.rotated_dims = rotated_dims;
  spec.layout = layout;
  RopeRegime regime;
  for (int i = 0; i < rotated_dims / 2; ++i) {
    regime.frequencies.push_back(std::pow(100.0f, -2.0f * i / rotated_dims));
  }
  regime.magnitude = 1.25f;
  spec.regimes = {regime};
  return spec;
}

PackedAttention arguments(const AttentionCase& c) {
  PackedAttention args;
  args.heads = c.heads;
  args.kv_heads = c.kv_heads;
  args.head_dim = c.head_dim;
  args.scale = 0.3f;
  args.window_tokens = c.window;
  args.softcap = c.softcap;
  args.first = std::make_shared<const std::vector<int>>(c.first);
  if (c.rope) {
    args.rope =
        std::make_shared<const RopeTable>(make_rope_table(*c.rope, c.first));
  }
  return args;
}

mx::array rotated(const mx::array& x, const std::optional<RopeSpec>& spec) {
  if (!spec) {
    return x;
  }
  std::vector<float> wavelengths;
  for (const float frequency : spec->regimes[0].frequencies) {
    wavelengths.push_back(1 / frequency);
  }
  std::vector<float> factors(static_cast<std::size_t>(x.shape(3)), 1.0f);
  std::fill_n(factors.begin(), spec->rotated_dims, 1.25f);
  return mx::fast::rope(
      mx::multiply(x, mx::array(factors.data(), {x.shape(3)})),
      spec->rotated_dims,
      spec->layout == RopeLayout::interleaved,
      std::nullopt,
      1.0f,
      0,
      mx::array(wavelengths.data(), {static_cast<int>(wavelengths.size())}));
}

/// One sample after the other, in MLX's ops.
mx::array reference_attention(const mx::array& qkv, const AttentionCase& c) {
  Arrays outputs;
  for (std::size_t i = 0; i + 1 < c.first.size(); ++i) {
    const int n = c.first[i + 1] - c.first[i];
    const auto part = [&](int head, int heads) {
      const auto cut = mx::slice(
          qkv,
          {c.first[i], head * c.head_dim},
          {c.first[i + 1], (head + heads) * c.head_dim});
      return mx::transpose(
          mx::reshape(cut, {1, n, heads, c.head_dim}),
          {0, 2, 1, 3});
    };
    const auto q = rotated(part(0, c.heads), c.rope);
    auto k = rotated(part(c.heads, c.kv_heads), c.rope);
    auto v = part(c.heads + c.kv_heads, c.kv_heads);
    k = mx::repeat(k, c.heads / c.kv_heads, 1);
    v = mx::repeat(v, c.heads / c.kv_heads, 1);
    auto scores = mx::multiply(
        mx::matmul(q, mx::transpose(k, {0, 1, 3, 2})),
        mx::array(0.3f));
    if (c.softcap) {
      const mx::array cap(*c.softcap);
      scores = mx::multiply(mx::tanh(mx::divide(scores, cap)), cap);
    }
    auto seen = mx::tri(n, n, 0, mx::bool_);
    if (c.window) {
      const auto old = mx::tri(n, n, -*c.window, mx::bool_);
      seen = mx::logical_and(seen, mx::logical_not(old));
    }
    const auto p = mx::softmax(mx::where(seen, scores, mx::array(-1e30f)), -1);
    outputs.push_back(mx::reshape(
        mx::transpose(mx::matmul(p, v), {0, 2, 1, 3}),
        {n, c.heads * c.head_dim}));
  }
  return mx::concatenate(outputs, 0);
}

class PackedAttentionTest : public TrainOpsTest {
 protected:
  void expect_attention(const AttentionCase& c) {
    const auto qkv =
        random({c.first.back(), (c.heads + 2 * c.kv_heads) * c.head_dim}, 5);
    const auto args = arguments(c);
    expect_same(
        [&](const Arrays& in) { return packed_attention(in[0], args); },
        [&](const Arrays& in) { return reference_attention(in[0], c); },
        {qkv});
  }
};

TEST_F(PackedAttentionTest, SamplesDontSeeEachOther) {
  expect_attention({});
}

TEST_F(PackedAttentionTest, RotatesQueriesAndKeys) {
  AttentionCase c;
  c.rope = rope(12, RopeLayout::half_split);
  expect_attention(c);
  c.rope = rope(8, RopeLayout::half_split);
  expect_attention(c);
  c.rope = rope(12, RopeLayout::interleaved);
  expect_attention(c);
}

TEST_F(PackedAttentionTest, KeepsToItsWindow) {
  AttentionCase c;
  c.window = 9;
  expect_attention(c);
}

TEST_F(PackedAttentionTest, CapsScores) {
  AttentionCase c;
  c.softcap = 0.5f;
  expect_attention(c);
}

TEST_F(PackedAttentionTest, TakesHeadsOfEverySize) {
  for (const int dim : {2, 16, 20, 64, 80}) {
    AttentionCase c;
    c.head_dim = dim;
    c.kv_heads = dim == 16 ? 4 : 1;
    c.first = {0, 49, 150};
    c.rope = rope(dim, RopeLayout::half_split);
    expect_attention(c);
  }
}

// ---- the loss ----

struct LossCase {
  float scale = 1.0f;
  std::optional<float> cap;
};

class TokenLossTest : public TrainOpsTest {
 protected:
  static constexpr int kTokens = 60;
  static constexpr int kVocab = 37;
  static constexpr int kDim = 12;

  std::shared_ptr<TokenTargets> targets() {
    auto t = std::make_shared<TokenTargets>();
    for (int i = 0; i < kTokens; ++i) {
      t->targets.push_back(i * 7 % kVocab);
      t->weights.push_back(i % 3 == 0 ? 0.0f : 0.01f * (1 + i % 5));
    }
    return t;
  }

  static mx::array reference(
      const mx::array& hidden,
      const mx::array& head,
      const TokenTargets& t,
      const LossCase& c) {
    auto logits = mx::multiply(
        mx::matmul(hidden, mx::transpose(head)),
        mx::array(c.scale));
    if (c.cap) {
      const mx::array cap(*c.cap);
      logits = mx::multiply(mx::tanh(mx::divide(logits, cap)), cap);
    }
    const mx::array ids(t.targets.data(), {kTokens, 1});
    const auto picked =
        mx::reshape(mx::take_along_axis(logits, ids, 1), {kTokens});
    const auto nll = mx::subtract(mx::logsumexp(logits, 1), picked);
    const mx::array weights(t.weights.data(), {kTokens});
    return mx::sum(mx::multiply(nll, weights));
  }
};

TEST_F(TokenLossTest, AHeadsBiasIsAddedAndLearns) {
  const auto t = targets();
  expect_same(
      [&](const Arrays& in) {
        TokenHead head;
        head.trained = in[1];
        head.bias = in[2];
        head.bias_is_trained = true;
        head.logit_softcap = 1.5f;
        return token_loss(in[0], head, t, LossGradient::with).loss;
      },
      [&](const Arrays& in) {
        // One more column of ones is the same.
        const auto hidden = mx::concatenate({in[0], mx::ones({kTokens, 1})}, 1);
        const auto head =
            mx::concatenate({in[1], mx::reshape(in[2], {kVocab, 1})}, 1);
        return mx::reshape(reference(hidden, head, *t, {1.0f, 1.5f}), {1});
      },
      {random({kTokens, kDim}, 1),
       random({kVocab, kDim}, 2),
       random({kVocab}, 3)});
}

TEST_F(TokenLossTest, FollowsATeacherAsWholeLogitsDo) {
  constexpr int kWide = 20;
  auto rows = random({kTokens, kWide}, 5);
  auto matrix = random({kVocab, kWide}, 6);
  mx::eval(rows, matrix);
  const float temperature = 2.5f;
  const float share = 0.3f;
  TokenHead theirs;
  theirs.matrix = float_matrix(matrix.data<float>(), kVocab, kWide);
  const auto t = targets();
  t->teacher = std::make_shared<const TokenTeacher>(
      TokenTeacher{rows, theirs, temperature, share});
  expect_same(
      [&](const Arrays& in) {
        TokenHead head;
        head.trained = in[1];
        return token_loss(in[0], head, t, LossGradient::with).loss;
      },
      [&](const Arrays& in) {
        const auto log_softmax = [&](const mx::array& x) {
          const auto over = mx::divide(x, mx::array(temperature));
          return mx::subtract(over, mx::logsumexp(over, 1, true));
        };
        const auto own = log_softmax(mx::matmul(in[0], mx::transpose(in[1])));
        const auto q = log_softmax(mx::matmul(rows, mx::transpose(matrix)));
        const auto divergence =
            mx::sum(mx::multiply(mx::exp(q), mx::subtract(q, own)), 1);
        const mx::array weights(t->weights.data(), {kTokens});
        const auto followed = mx::multiply(
            mx::sum(mx::multiply(weights, divergence)),
            mx::array(share * temperature * temperature));
        return mx::reshape(
            mx::add(
                followed,
                mx::multiply(
                    mx::array(1 - share),
                    reference(in[0], in[1], *t, {}))),
            {1});
      },
      {random({kTokens, kDim}, 1), random({kVocab, kDim}, 2)});
}

TEST_F(TokenLossTest, MatchesTheLossOfWholeLogits) {
  const auto t = targets();
  for (const LossCase& c :
       {LossCase{}, LossCase{0.5f, std::nullopt}, LossCase{2.0f, 1.5f}}) {
    expect_same(
        [&](const Arrays& in) {
          TokenHead head;
          head.trained = in[1];
          head.logit_scale = c.scale;
          head.logit_softcap = c.cap;
          return token_loss(in[0], head, t, LossGradient::with).loss;
        },
        [&](const Arrays& in) {
          return mx::reshape(reference(in[0], in[1], *t, c), {1});
        },
        {random({kTokens, kDim}, 1), random({kVocab, kDim}, 2)});
  }
}

TEST_F(TokenLossTest, ReadsAFrozenHeadInItsOwnFormat) {
  const auto own = std::make_shared<testing::RandomMatrix>(
      PackedFormat::q4,
      kVocab,
      32,
      3,
      0.1f);
  const auto t = targets();
  TokenHead head;
  head.matrix = own->matrix;
  head.memory = own;
  std::vector<float> decoded(static_cast<std::size_t>(kVocab) * 32);
  for (int row = 0; row < kVocab; ++row) {
    read_packed_row(
        own->matrix,
        row,
        std::span(decoded).subspan(static_cast<std::size_t>(row) * 32, 32));
  }
  const mx::array full(decoded.data(), {kVocab, 32});
  expect_same(
      [&](const Arrays& in) {
        return token_loss(in[0], head, t, LossGradient::with).loss;
      },
      [&](const Arrays& in) {
        return mx::reshape(reference(in[0], full, *t, {}), {1});
      },
      {random({kTokens, 32}, 4)});
}

TEST_F(TokenLossTest, LossesThatWeighTokensByTheirProbability) {
  // loss = Σ nll²: the derivative of each is 2·nll.
  const auto t = targets();
  const auto squared = std::make_shared<TokenTargets>(*t);
  squared->reweigh = [](std::span<const float> nll, std::span<float> weights) {
    double loss = 0;
    for (std::size_t i = 0; i < nll.size(); ++i) {
      loss += static_cast<double>(nll[i]) * nll[i];
      weights[i] = 2 * nll[i];
    }
    return loss;
  };
  const auto head_of = [](const mx::array& weight) {
    TokenHead head;
    head.trained = weight;
    return head;
  };
  expect_same(
      [&](const Arrays& in) {
        return token_loss(in[0], head_of(in[1]), squared, LossGradient::with)
            .loss;
      },
      [&](const Arrays& in) {
        const auto logits = mx::matmul(in[0], mx::transpose(in[1]));
        const mx::array ids(t->targets.data(), {kTokens, 1});
        const auto picked =
            mx::reshape(mx::take_along_axis(logits, ids, 1), {kTokens});
        const auto nll = mx::subtract(mx::logsumexp(logits, 1), picked);
        const mx::array counts = mx::greater(
            mx::array(t->weights.data(), {kTokens}),
            mx::array(0.0f));
        return mx::reshape(
            mx::sum(mx::where(counts, mx::square(nll), mx::array(0.0f))),
            {1});
      },
      {random({kTokens, kDim}, 1), random({kVocab, kDim}, 2)});
}

TEST_F(TokenLossTest, FollowsATeachersPredictions) {
  const auto t = targets();
  const auto follow = std::make_shared<TokenTargets>(*t);
  auto rows = random({kTokens, kDim}, 7);
  auto matrix = random({kVocab, kDim}, 8);
  mx::eval(rows, matrix);
  for (const LossCase& c :
       {LossCase{}, LossCase{0.5f, std::nullopt}, LossCase{2.0f, 1.5f}}) {
    TokenHead theirs;
    theirs.matrix = float_matrix(matrix.data<float>(), kVocab, kDim);
    theirs.logit_scale = c.scale;
    theirs.logit_softcap = c.cap;
    follow->teacher = std::make_shared<const TokenTeacher>(
        TokenTeacher{rows, theirs, 1.0f, 1.0f});
    const auto log_probabilities = [&](const mx::array& hidden,
                                       const mx::array& head) {
      auto logits = mx::multiply(
          mx::matmul(hidden, mx::transpose(head)),
          mx::array(c.scale));
      if (c.cap) {
        const mx::array cap(*c.cap);
        logits = mx::multiply(mx::tanh(mx::divide(logits, cap)), cap);
      }
      return mx::subtract(logits, mx::logsumexp(logits, 1, true));
    };
    expect_same(
        [&](const Arrays& in) {
          TokenHead head;
          head.trained = in[1];
          head.logit_scale = c.scale;
          head.logit_softcap = c.cap;
          return token_loss(in[0], head, follow, LossGradient::with).loss;
        },
        [&](const Arrays& in) {
          const auto q = log_probabilities(rows, matrix);
          const auto p = log_probabilities(in[0], in[1]);
          const auto kl =
              mx::sum(mx::multiply(mx::exp(q), mx::subtract(q, p)), 1);
          const mx::array weights(t->weights.data(), {kTokens});
          return mx::reshape(mx::sum(mx::multiply(kl, weights)), {1});
        },
        {random({kTokens, kDim}, 1), random({kVocab, kDim}, 2)});
  }
}

// ---- codes whose scales are trained ----

class CodedWeightTest : public TrainOpsTest {
 protected:
  static constexpr int kRows = 35;
  static constexpr int kCols = 96;

  static std::shared_ptr<TrainedCodes> codes(Encoding scale_type) {
    auto out = std::make_shared<TrainedCodes>();
    out->rows = kRows;
    out->cols = kCols;
    out->group_size = 32;
    out->middle = 7.5f;
    out->unit = 0.25f;
    out->scale_type = scale_type;
    for (int i = 0; i < kRows * kCols; ++i) {
      out->codes.push_back(static_cast<std::uint8_t>((i * 7 + i / 5) % 16));
    }
    return out;
  }

  /// The same mathematics, without rounding.
  static mx::array reference(
      const TrainedCodes& c,
      const mx::array& scales,
      const mx::array& offsets) {
    std::vector<float> values(c.codes.begin(), c.codes.end());
    const auto centred = mx::subtract(
        mx::array(values.data(), {kRows, c.groups(), c.group_size}),
        mx::array(c.middle));
    const auto w = mx::add(
        mx::multiply(centred, mx::expand_dims(scales, 2)),
        mx::expand_dims(offsets, 2));
    return mx::reshape(mx::multiply(w, mx::array(c.unit)), {kRows, kCols});
  }
};

TEST_F(CodedWeightTest, DecodesAndFoldsItsGradient) {
  const auto c = codes(Encoding::f32);
  expect_same(
      [&](const Arrays& in) { return coded_weight(c, in[0], in[1]); },
      [&](const Arrays& in) { return reference(*c, in[0], in[1]); },
      {random({kRows, 3}, 1), random({kRows, 3}, 2)});
}

TEST_F(CodedWeightTest, RowsAreThoseOfTheMatrixOneOfThemTwice) {
  const auto c = codes(Encoding::f32);
  const mx::array ids({3, 34, 3, 0}, mx::int32);
  expect_same(
      [&](const Arrays& in) { return coded_rows(c, in[0], in[1], ids); },
      [&](const Arrays& in) {
        return mx::take(reference(*c, in[0], in[1]), ids, 0);
      },
      {random({kRows, 3}, 1), random({kRows, 3}, 2)});
}

TEST_F(CodedWeightTest, ExpertsOfAStackAreMultipliedEachWithItsOwnRows) {
  const auto c = codes(Encoding::f32);
  constexpr int kExperts = 5;
  const mx::array ids({3, 1, 1, 4, 3, 0}, mx::int32);  // none for expert 2
  expect_same(
      [&](const Arrays& in) {
        return coded_expert_linear(in[2], ids, {{c, in[0], in[1]}}, kExperts);
      },
      [&](const Arrays& in) {
        const auto w = mx::reshape(
            reference(*c, in[0], in[1]),
            {kExperts, kRows / kExperts, kCols});
        const auto own = mx::swapaxes(mx::take(w, ids, 0), 1, 2);
        return mx::squeeze(mx::matmul(mx::expand_dims(in[2], 1), own), 1);
      },
      {random({kRows, 3}, 1), random({kRows, 3}, 2), random({6, kCols}, 3)});
}

TEST_F(CodedWeightTest, ExpertsOneByOneAreMultipliedAsThoseOfAStack) {
  const auto c = codes(Encoding::f32);
  const mx::array ids({1, 0, 1}, mx::int32);
  expect_same(
      [&](const Arrays& in) {
        return coded_expert_linear(
            in[4],
            ids,
            {{c, in[0], in[1]}, {c, in[2], in[3]}},
            2);
      },
      [&](const Arrays& in) {
        const auto w = mx::stack(
            {reference(*c, in[0], in[1]), reference(*c, in[2], in[3])});
        const auto own = mx::swapaxes(mx::take(w, ids, 0), 1, 2);
        return mx::squeeze(mx::matmul(mx::expand_dims(in[4], 1), own), 1);
      },
      {random({kRows, 3}, 1),
       random({kRows, 3}, 2),
       random({kRows, 3}, 4),
       random({kRows, 3}, 5),
       random({3, kCols}, 3)});
  EXPECT_THROW(
      coded_expert_linear(
          random({3, kCols + 1}, 1),
          ids,
          {{c, random({kRows, 3}, 1), random({kRows, 3}, 2)}},
          5),
      BugError);
}

TEST_F(CodedWeightTest, ComputesWithWhatAReaderWillSee) {
  const auto c = codes(Encoding::bf16);
  const auto scales = random({kRows, 3}, 1);
  const auto offsets = random({kRows, 3}, 2);
  auto w = coded_weight(c, scales, offsets);
  mx::eval(w);
  const auto half = [](float value) {
    return mx::astype(mx::astype(mx::array(value), mx::bfloat16), mx::float32)
        .item<float>();
  };
  const float s = scales.data<float>()[4];
  const float o = offsets.data<float>()[4];
  const float scale = half(0.25f * s);
  const float bias = half(0.25f * (o - 7.5f * s));
  // Row 1, group 1.
  for (int i = 32; i < 64; ++i) {
    EXPECT_FLOAT_EQ(
        w.data<float>()[kCols + i],
        scale * static_cast<float>(c->codes[kCols + i]) + bias);
  }
}

}  // namespace
}  // namespace roofline
