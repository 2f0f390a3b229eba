#include <cmath>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "kernels/isas.h"
#include "kernels/packed_helpers.h"
#include "roofline/kernels/block/linear.h"
#include "roofline/kernels/block/step.h"

namespace roofline {
namespace {

using testing::random_floats;
using testing::RandomMatrix;

/// Float matrix [rows, cols] with its view.
struct Dense {
  Dense(int rows, int cols, unsigned seed, float scale = 0.15f)
      : values(random_floats(
            static_cast<std::size_t>(rows) * static_cast<std::size_t>(cols),
            seed,
            scale)) {
    view.format = PackedFormat::f32;
    view.rows = rows;
    view.cols = cols;
    view.data = reinterpret_cast<const std::byte*>(values.data());
  }
  std::vector<float> values;
  PackedMatrix view;
};

using Rows = std::vector<std::vector<double>>;

std::vector<double> times(
    const std::vector<double>& x,
    const PackedMatrix& matrix) {
  std::vector<double> y;
  std::vector<float> row(static_cast<std::size_t>(matrix.cols));
  for (int r = 0; r < matrix.rows; ++r) {
    read_packed_row(matrix, r, row);
    double sum = 0;
    for (std::size_t c = 0; c < row.size(); ++c) {
      sum += x[c] * row[c];
    }
    y.push_back(sum);
  }
  return y;
}

std::vector<double> times(
    const std::vector<double>& x,
    const StepLinear& linear) {
  std::vector<double> y;
  for (const PackedMatrix& part : linear.parts) {
    const auto own = times(x, part);
    y.insert(y.end(), own.begin(), own.end());
  }
  for (std::size_t i = 0; i < linear.bias.size(); ++i) {
    y[i] += linear.bias[i];
  }
  return y;
}

class RunLinearTest : public testing::EveryIsa {};

TEST_P(RunLinearTest, StacksPartsOfDifferentFormatsWithTheirBias) {
  const int cols = 96;
  const RandomMatrix q(PackedFormat::q4, 50, cols, 31);
  const Dense k(24, cols, 32);
  const RandomMatrix v(PackedFormat::q8, 33, cols, 33, 0.001f);
  StepLinear linear;
  linear.parts = {q.matrix, k.view, v.matrix};
  linear.bias = random_floats(107, 34);
  ThreadPool pool(3);
  const StepKernels kernels{
      &qmm_kernels(),
      &dense_kernels(),
      &row_kernels(),
      nullptr,
      true};
  for (const int tokens : {1, 3, 16, 17, 40}) {
    const auto x = random_floats(static_cast<std::size_t>(tokens * cols), 35);
    std::vector<float> y(static_cast<std::size_t>(tokens * 107), NAN);
    int told = 0;
    std::mutex mutex;
    run_linear(
        kernels,
        linear,
        {x.data(), {}, {}},
        tokens,
        y.data(),
        107,
        pool,
        [&](int, int rows, int token_begin, int token_end) {
          const std::lock_guard<std::mutex> lock(mutex);
          told += rows * (token_end - token_begin);
        });
    EXPECT_EQ(told, 107 * tokens);
    for (int t = 0; t < tokens; ++t) {
      const std::vector<double> row(
          x.begin() + t * cols,
          x.begin() + (t + 1) * cols);
      const auto expected = times(row, linear);
      for (int i = 0; i < 107; ++i) {
        ASSERT_NEAR(
            y[static_cast<std::size_t>(t * 107 + i)],
            expected[static_cast<std::size_t>(i)],
            1e-4)
            << "token " << t << " of " << tokens << ", row " << i;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Variants,
    RunLinearTest,
    ::testing::ValuesIn(testing::runnable_isas()),
    testing::isa_test_name);

/// A small model, all float32, and the step by its definition in double.
struct Tiny {
  static constexpr int kDim = 48;
  static constexpr int kHidden = 80;
  static constexpr int kVocab = 70;
  static constexpr int kHeads = 4;
  static constexpr int kKvHeads = 2;
  static constexpr int kHeadDim = 24;

  Tiny() {
    model.dim = kDim;
    model.vocab = kVocab;
    model.exact = true;
    model.embed = matrix(kVocab, kDim, 1.0f);
    model.head.parts = {matrix(kVocab, kDim)};
    model.final_norm = norm(NormKind::rms, kDim);
  }

  PackedMatrix matrix(int rows, int cols, float scale = 0.15f) {
    matrices.push_back(std::make_unique<Dense>(rows, cols, ++seed, scale));
    return matrices.back()->view;
  }
  StepLinear linear(int rows, int cols, bool bias) {
    StepLinear result;
    result.parts = {matrix(rows, cols)};
    if (bias) {
      result.bias = random_floats(static_cast<std::size_t>(rows), ++seed, 0.3f);
    }
    return result;
  }
  StepNorm norm(NormKind kind, int n) {
    StepNorm result;
    result.kind = kind;
    result.eps = 1e-5f;
    result.weight = random_floats(static_cast<std::size_t>(n), ++seed);
    if (kind == NormKind::layer) {
      result.bias = random_floats(static_cast<std::size_t>(n), ++seed);
    }
    return result;
  }

  StepLayer& add_layer(NormPlacement placement, NormKind kind, bool bias) {
    StepLayer layer;
    layer.placement = placement;
    if (placement != NormPlacement::post) {
      layer.attention_norm = norm(kind, kDim);
    }
    if (placement == NormPlacement::pre ||
        placement == NormPlacement::sandwich) {
      layer.feed_forward_norm = norm(kind, kDim);
    }
    if (placement == NormPlacement::post ||
        placement == NormPlacement::sandwich) {
      layer.attention_post_norm = norm(kind, kDim);
      layer.feed_forward_post_norm = norm(kind, kDim);
    }
    StepAttention& attention = layer.attention;
    attention.heads = kHeads;
    attention.kv_heads = kKvHeads;
    attention.head_dim = kHeadDim;
    attention.scale = 0.2f;
    attention.qkv = linear((kHeads + 2 * kKvHeads) * kHeadDim, kDim, bias);
    attention.out = linear(kDim, kHeads * kHeadDim, bias);
    layer.feed_forward.gate = linear(kHidden, kDim, bias);
    layer.feed_forward.up = linear(kHidden, kDim, bias);
    layer.feed_forward.down = linear(kDim, kHidden, bias);
    model.layers.push_back(std::move(layer));
    return model.layers.back();
  }

  StepModel model;
  std::vector<std::unique_ptr<Dense>> matrices;
  unsigned seed = 100;
};

std::vector<double> normed(const StepNorm& norm, std::vector<double> x) {
  double mean = 0;
  for (const double value : x) {
    mean += value / static_cast<double>(x.size());
  }
  mean = norm.kind == NormKind::layer ? mean : 0;
  double squares = 0;
  for (const double value : x) {
    squares += (value - mean) * (value - mean) / static_cast<double>(x.size());
  }
  for (std::size_t i = 0; i < x.size(); ++i) {
    x[i] = (x[i] - mean) / std::sqrt(squares + norm.eps) * norm.weight[i];
    x[i] += norm.bias.empty() ? 0 : norm.bias[i];
  }
  return x;
}

std::vector<double> normed(
    const std::optional<StepNorm>& norm,
    const std::vector<double>& x) {
  return norm ? normed(*norm, x) : x;
}

double activated(Activation activation, double x) {
  if (activation == Activation::silu) {
    return x / (1 + std::exp(-x));
  }
  return std::max(0.0, x) * std::max(0.0, x);  // relu_squared
}

/// Causal attention of whole sequences; rope turns pairs (2i, 2i + 1).
Rows attended(const StepLayer& layer, const Rows& in, const RopeRegime& rope) {
  const StepAttention& a = layer.attention;
  const int dim = a.head_dim;
  Rows qkv;
  for (std::size_t t = 0; t < in.size(); ++t) {
    qkv.push_back(times(in[t], a.qkv));
    for (int h = 0; a.rope && h < a.heads + a.kv_heads; ++h) {
      for (std::size_t i = 0; i < rope.frequencies.size(); ++i) {
        double* pair = qkv[t].data() + h * dim + 2 * i;
        const double angle = static_cast<double>(t) * rope.frequencies[i];
        const double x = pair[0];
        pair[0] = x * std::cos(angle) - pair[1] * std::sin(angle);
        pair[1] = pair[1] * std::cos(angle) + x * std::sin(angle);
      }
    }
  }
  Rows out;
  for (std::size_t t = 0; t < in.size(); ++t) {
    std::vector<double> heads;
    for (int h = 0; h < a.heads; ++h) {
      const int k_at = (a.heads + h / (a.heads / a.kv_heads)) * dim;
      const int v_at = k_at + a.kv_heads * dim;
      std::vector<double> sums(static_cast<std::size_t>(dim));
      double total = 0;
      for (std::size_t p = 0; p <= t; ++p) {
        double score = 0;
        for (int d = 0; d < dim; ++d) {
          score += qkv[t].data()[h * dim + d] * qkv[p].data()[k_at + d];
        }
        const double weight = std::exp(score * a.scale);
        total += weight;
        for (int d = 0; d < dim; ++d) {
          sums[static_cast<std::size_t>(d)] += weight * qkv[p].data()[v_at + d];
        }
      }
      for (const double sum : sums) {
        heads.push_back(sum / total);
      }
    }
    out.push_back(times(heads, a.out));
  }
  return out;
}

std::vector<double> fed(
    const StepFeedForward& ff,
    const std::vector<double>& x) {
  const auto up = times(x, ff.up);
  const auto gate = ff.gate.parts.empty() ? up : times(x, ff.gate);
  std::vector<double> hidden;
  for (std::size_t i = 0; i < up.size(); ++i) {
    hidden.push_back(
        activated(ff.activation, gate[i]) *
        (ff.gate.parts.empty() ? 1.0 : up[i]));
  }
  return times(hidden, ff.down);
}

void join(
    std::vector<double>& x,
    const std::vector<double>& y,
    const StepLayer& layer,
    const std::optional<StepNorm>& post) {
  const auto own = normed(post, y);
  for (std::size_t i = 0; i < x.size(); ++i) {
    x[i] += layer.residual_scale * own[i];
  }
}

Rows reference(
    const StepModel& model,
    const std::vector<std::int32_t>& ids,
    const RopeRegime& rope) {
  Rows x;
  for (const std::int32_t id : ids) {
    std::vector<float> row(static_cast<std::size_t>(model.dim));
    read_packed_row(model.embed, id, row);
    x.emplace_back(row.begin(), row.end());
    for (double& value : x.back()) {
      value *= model.embedding_scale;
    }
  }
  for (const StepLayer& layer : model.layers) {
    Rows in;
    for (const auto& row : x) {
      in.push_back(normed(layer.attention_norm, row));
    }
    const Rows y = attended(layer, in, rope);
    for (std::size_t t = 0; t < x.size(); ++t) {
      join(x[t], y[t], layer, layer.attention_post_norm);
      const bool parallel = layer.placement == NormPlacement::parallel;
      const auto ff_in =
          parallel ? in[t] : normed(layer.feed_forward_norm, x[t]);
      join(
          x[t],
          fed(layer.feed_forward, ff_in),
          layer,
          layer.feed_forward_post_norm);
    }
  }
  Rows logits;
  for (const auto& row : x) {
    logits.push_back(times(normed(model.final_norm, row), model.head));
    for (double& logit : logits.back()) {
      logit *= model.logit_scale;
      if (model.logit_softcap) {
        logit = *model.logit_softcap * std::tanh(logit / *model.logit_softcap);
      }
    }
  }
  return logits;
}

/// Float32 caches for one sequence.
struct TinyCache {
  TinyCache(const StepModel& model, int slots)
      : keys(model.layers.size()), values(keys.size()) {
    for (std::size_t i = 0; i < keys.size(); ++i) {
      keys[i].resize(
          static_cast<std::size_t>(Tiny::kKvHeads * Tiny::kHeadDim * slots));
      values[i].resize(keys[i].size());
      slot_count = slots;
    }
  }
  StepSlice slice(int tokens, int logit_rows, const RopeRegime& rope) {
    segments = {{0, 0, length + tokens}};
    StepSlice result;
    result.tokens = tokens;
    result.logit_rows = logit_rows;
    result.first_position = length;
    for (std::size_t i = 0; i < keys.size(); ++i) {
      result.layers.push_back(
          {KvType::f32,
           keys[i].data(),
           values[i].data(),
           Tiny::kKvHeads,
           Tiny::kHeadDim,
           slot_count,
           segments});
    }
    result.regimes = std::make_shared<std::vector<RopeRegime>>(1, rope);
    length += tokens;
    return result;
  }

  std::vector<std::vector<float>> keys;
  std::vector<std::vector<float>> values;
  std::vector<KvSegment> segments;
  int slot_count = 0;
  int length = 0;
};

RopeRegime tiny_rope() {
  RopeRegime rope;
  rope.frequencies = {1.0f, 0.3f, 0.1f, 0.03f, 0.01f};
  return rope;
}

void expect_reference(const Tiny& tiny) {
  const RopeRegime rope = tiny_rope();
  std::vector<std::int32_t> ids;
  for (int i = 0; i < 23; ++i) {
    ids.push_back((i * 31 + 7) % Tiny::kVocab);
  }
  const Rows expected = reference(tiny.model, ids, rope);
  double largest = 1;
  for (const double logit : expected.back()) {
    largest = std::max(largest, std::abs(logit));
  }
  ThreadPool pool(2);
  StepScratch scratch;
  for (const int chunk : {23, 4, 1}) {
    TinyCache cache(tiny.model, 32);
    for (int begin = 0; begin < 23; begin += chunk) {
      const int count = std::min(chunk, 23 - begin);
      const int rows = std::min(count, 2);
      const StepSlice slice = cache.slice(count, rows, rope);
      std::vector<float> logits(
          static_cast<std::size_t>(rows * Tiny::kVocab),
          NAN);
      run_step(
          tiny.model,
          {ids.data() + begin, static_cast<std::size_t>(count)},
          {&slice, 1},
          scratch,
          pool,
          logits.data());
      for (int r = 0; r < rows; ++r) {
        const auto& row =
            expected[static_cast<std::size_t>(begin + count - rows + r)];
        for (std::size_t i = 0; i < row.size(); ++i) {
          ASSERT_NEAR(
              logits[static_cast<std::size_t>(r * Tiny::kVocab) + i],
              row[i],
              1e-4 * largest)
              << "chunks of " << chunk << " at " << begin;
        }
      }
    }
  }
}

class StepTest : public testing::EveryIsa {};

TEST_P(StepTest, EveryNormPlacementFollowsItsDefinition) {
  for (const auto placement :
       {NormPlacement::pre,
        NormPlacement::post,
        NormPlacement::sandwich,
        NormPlacement::parallel}) {
    SCOPED_TRACE(static_cast<int>(placement));
    Tiny tiny;
    tiny.add_layer(placement, NormKind::rms, false).residual_scale = 0.6f;
    tiny.add_layer(placement, NormKind::rms, false);
    expect_reference(tiny);
  }
}

TEST_P(StepTest, LayerNormsBiasesAndPlainFeedForwardsWork) {
  Tiny tiny;
  for (const auto placement : {NormPlacement::pre, NormPlacement::parallel}) {
    StepLayer& layer = tiny.add_layer(placement, NormKind::layer, true);
    layer.feed_forward.gate = {};
    layer.feed_forward.activation = Activation::relu_squared;
  }
  tiny.model.final_norm = tiny.norm(NormKind::layer, Tiny::kDim);
  tiny.model.head.bias = random_floats(Tiny::kVocab, 99);
  expect_reference(tiny);
}

TEST_P(StepTest, InterleavedRopeTurnsSomeLayersOnly) {
  Tiny tiny;
  tiny.model.ropes = {{RopeLayout::interleaved, 10}};
  tiny.add_layer(NormPlacement::pre, NormKind::rms, false).attention.rope = 0;
  tiny.add_layer(NormPlacement::pre, NormKind::rms, true);
  tiny.add_layer(NormPlacement::pre, NormKind::rms, true).attention.rope = 0;
  expect_reference(tiny);
}

TEST_P(StepTest, EmbeddingsAndLogitsAreScaledAndCapped) {
  Tiny tiny;
  tiny.add_layer(NormPlacement::pre, NormKind::rms, false);
  tiny.model.embedding_scale = 3.0f;
  tiny.model.logit_scale = 4.0f;
  tiny.model.logit_softcap = 5.0f;
  expect_reference(tiny);
}

TEST_P(StepTest, NoLayersStillGiveLogits) {
  Tiny tiny;
  expect_reference(tiny);
}

INSTANTIATE_TEST_SUITE_P(
    Variants,
    StepTest,
    ::testing::ValuesIn(testing::runnable_isas()),
    testing::isa_test_name);

}  // namespace
}  // namespace roofline
