#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include "kernels/isas.h"
#include "kernels/packed_helpers.h"
#include "roofline/kernels/block/head_screen.h"
#include "roofline/kernels/block/scratch.h"
#include "roofline/kernels/block/step.h"

namespace roofline {
namespace {

using testing::AlignedBytes;
using testing::random_floats;
using testing::RandomMatrix;

constexpr int kDim = 96;
/// The last row block has 3 rows.
constexpr int kVocab = 2003;
constexpr int kTokens = 64;

/// Embeddings and a head with its coarse copy, no layers: logits are those of
/// the normed embedding.
struct HeadModel {
  explicit HeadModel(const PackedMatrix& head)
      : embeddings(random_floats(std::size_t{kTokens} * kDim, 5, 1.0f)),
        coarse(screen_bytes(head.rows, head.cols)),
        errors(screen_errors(head.rows)),
        rows(
            static_cast<std::size_t>(head.rows) *
            static_cast<std::size_t>(head.cols)) {
    model.dim = kDim;
    model.vocab = head.rows;
    model.embed.format = PackedFormat::f32;
    model.embed.rows = kTokens;
    model.embed.cols = kDim;
    model.embed.data = reinterpret_cast<const std::byte*>(embeddings.data());
    model.head.parts = {head};
    Tensor tensor;
    tensor.encoding = Encoding::f32;
    tensor.rows = head.rows;
    tensor.cols = head.cols;
    const auto width = static_cast<std::size_t>(head.cols);
    for (int r = 0; r < head.rows; ++r) {
      read_packed_row(
          head,
          r,
          std::span(rows).subspan(static_cast<std::size_t>(r) * width, width));
    }
    tensor.bytes = std::as_bytes(std::span(rows));
    ThreadPool pool(2);
    model.screen.coarse.parts = {
        make_screen(tensor, coarse.span(), errors, pool)};
    model.screen.errors = errors;
  }

  /// Logits [tokens, vocab]; of the last token of each of so many sequences,
  /// or of all tokens of one.
  std::vector<float> run(
      int tokens,
      bool one_sequence,
      const DecidingLogits& deciding,
      StepScratch& scratch) const {
    if (!one_sequence) {
      const std::vector<DecidingLogits> each(
          static_cast<std::size_t>(tokens),
          deciding);
      return run(each, scratch);
    }
    StepSlice slice = slice_of(tokens);
    slice.deciding = deciding;
    return run_slices({slice}, tokens, scratch);
  }

  /// Of a sequence for each.
  std::vector<float> run(
      std::span<const DecidingLogits> each,
      StepScratch& scratch) const {
    std::vector<StepSlice> slices;
    for (const DecidingLogits& deciding : each) {
      slices.push_back(slice_of(1));
      slices.back().deciding = deciding;
    }
    return run_slices(slices, static_cast<int>(each.size()), scratch);
  }

  static StepSlice slice_of(int tokens) {
    StepSlice slice;
    slice.tokens = tokens;
    slice.logit_rows = tokens;
    slice.regimes = std::make_shared<std::vector<RopeRegime>>();
    return slice;
  }

  std::vector<float> run_slices(
      const std::vector<StepSlice>& slices,
      int tokens,
      StepScratch& scratch) const {
    std::vector<std::int32_t> ids(static_cast<std::size_t>(tokens));
    std::iota(ids.begin(), ids.end(), 0);
    std::vector<float> logits(
        ids.size() * static_cast<std::size_t>(model.vocab),
        NAN);
    ThreadPool pool(2);
    run_step(model, ids, slices, scratch, pool, logits.data());
    return logits;
  }

  std::vector<float> embeddings;
  AlignedBytes coarse;
  std::vector<float> errors;
  std::vector<float> rows;
  StepModel model;
};

/// The places of the n largest, by value.
std::vector<std::size_t> best_of(std::span<const float> row, int n) {
  std::vector<std::size_t> places(row.size());
  std::iota(places.begin(), places.end(), std::size_t{0});
  std::sort(places.begin(), places.end(), [&](std::size_t a, std::size_t b) {
    return row[a] > row[b];
  });
  places.resize(static_cast<std::size_t>(n));
  return places;
}

/// That a row's screened logits are the true ones where these are among the n
/// largest, and nowhere above. Returns how many are the true ones.
std::size_t expect_deciding(
    std::span<const float> expected,
    std::span<const float> actual,
    int n,
    double tolerance) {
  const auto best = best_of(expected, n);
  EXPECT_EQ(best_of(actual, 1), best_of(expected, 1));
  std::size_t read = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_LE(actual[i], expected[best.front()] + tolerance);
    read += std::abs(actual[i] - expected[i]) <= tolerance ? 1 : 0;
  }
  for (const std::size_t i : best) {
    EXPECT_NEAR(actual[i], expected[i], tolerance) << "row " << i;
  }
  std::vector<float> sorted(actual.begin(), actual.end());
  std::sort(sorted.begin(), sorted.end(), std::greater<>());
  for (std::size_t i = 0; i < best.size(); ++i) {
    EXPECT_NEAR(sorted[i], expected[best[i]], tolerance) << "place " << i;
  }
  return read;
}

/// The same of each row; estimates: and that the head wasn't read for many of
/// its others.
void expect_screened(
    std::span<const float> all,
    std::span<const float> screened,
    int n,
    double tolerance,
    bool estimates) {
  const auto vocab = static_cast<std::size_t>(kVocab);
  for (std::size_t begin = 0; begin < all.size(); begin += vocab) {
    const std::size_t read = expect_deciding(
        all.subspan(begin, vocab),
        screened.subspan(begin, vocab),
        n,
        tolerance);
    if (estimates) {
      EXPECT_LT(read, vocab * 7 / 8);
    } else {
      EXPECT_EQ(read, vocab);
    }
  }
}

/// The same of all rows together: a row whose noise is alike at its top is read
/// for most of its tokens, alone too.
void expect_rows_screened(
    std::span<const float> all,
    std::span<const float> screened,
    int n,
    double tolerance) {
  const auto vocab = static_cast<std::size_t>(kVocab);
  std::size_t read = 0;
  for (std::size_t begin = 0; begin < all.size(); begin += vocab) {
    read += expect_deciding(
        all.subspan(begin, vocab),
        screened.subspan(begin, vocab),
        n,
        tolerance);
  }
  EXPECT_LT(read, all.size() * 7 / 8);
}

RandomMatrix usual_head() {
  return {PackedForm(PackedFormat::q8, 1, 128), kVocab, kDim, 3, 0.002f};
}

float largest_magnitude(std::span<const float> logits) {
  float most = 0;
  for (const float logit : logits) {
    most = std::max(most, std::abs(logit));
  }
  return most;
}

/// Whether so many rows are screened where there are no tiles.
bool screens_rows(int tokens) {
  const int least = qmm_kernels().least_coarse_rows;
  return tokens == 1 || (least > 0 && tokens >= least);
}

class ScreenedHead : public testing::EveryIsa {};

TEST_P(ScreenedHead, LeavesTheLargestLogitsAsTheyAre) {
  for (const PackedForm form :
       {PackedForm(PackedFormat::q8, 1, 128),
        PackedForm(PackedFormat::q8, 1, 0),
        PackedForm(PackedFormat::q8_16, 1, 32)}) {
    const RandomMatrix head(form, kVocab, kDim, 3, 0.002f);
    const HeadModel model(head.matrix);
    for (const int tokens : {1, 3, 8, 9, 20}) {
      for (const bool one_sequence : {false, true}) {
        for (const int best : {1, 2, 5}) {
          SCOPED_TRACE(
              form_name(form) + ", tokens " + std::to_string(tokens) +
              ", best " + std::to_string(best));
          StepScratch scratch;
          const auto all = model.run(tokens, one_sequence, {}, scratch);
          const auto screened =
              model.run(tokens, one_sequence, {best}, scratch);
          const float most = largest_magnitude(all);
          const bool tiles = !one_sequence && tokens >= kLeastTileTokens &&
                             bf16_product_kernels() != nullptr;
          // On tiles a row is read as one of few are: it is rounded less.
          expect_screened(
              all,
              screened,
              best,
              tiles ? 0.01 * most : 0,
              tiles || screens_rows(tokens));
        }
      }
    }
  }
}

TEST_P(ScreenedHead, ReadsFloatsToo) {
  const auto values = random_floats(std::size_t{kVocab} * kDim, 8, 0.2f);
  PackedMatrix head;
  head.format = PackedFormat::f32;
  head.rows = kVocab;
  head.cols = kDim;
  head.data = reinterpret_cast<const std::byte*>(values.data());
  const HeadModel model(head);
  StepScratch scratch;
  const auto all = model.run(1, true, {}, scratch);
  expect_screened(all, model.run(1, true, {1}, scratch), 1, 0, true);
}

TEST_P(ScreenedHead, ScalesAndCapsWhatItFinds) {
  const RandomMatrix head = usual_head();
  HeadModel model(head.matrix);
  model.model.logit_scale = 0.5f;
  model.model.logit_softcap = 6.0f;
  StepScratch scratch;
  const auto all = model.run(1, false, {}, scratch);
  expect_screened(all, model.run(1, false, {3}, scratch), 3, 0, true);
}

std::vector<float> with_noise(
    std::span<const float> logits,
    const DecidingLogits& deciding) {
  std::vector<float> noisy;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    noisy.push_back(
        logits[i] + deciding.noise_of(static_cast<int>(i % kVocab)));
  }
  return noisy;
}

TEST_P(ScreenedHead, LeavesTheLargestWithNoiseAsTheyAre) {
  const RandomMatrix head = usual_head();
  HeadModel model(head.matrix);
  for (const float cap : {0.0f, 6.0f}) {
    model.model.logit_softcap =
        cap > 0 ? std::optional<float>(cap) : std::nullopt;
    for (const int tokens : {1, 20}) {
      StepScratch scratch;
      const auto all = model.run(tokens, false, {}, scratch);
      const bool tiles =
          tokens >= kLeastTileTokens && bf16_product_kernels() != nullptr;
      for (std::uint32_t draw = 0; draw < 40; ++draw) {
        DecidingLogits deciding;
        deciding.largest = draw % 4 == 0 ? 5 : 1;
        deciding.temperature = 0.1f * static_cast<float>(1 + draw % 8);
        deciding.noise = GumbelNoise(draw, 17);
        const auto screened = model.run(tokens, false, deciding, scratch);
        const auto wanted = with_noise(all, deciding);
        const auto found = with_noise(screened, deciding);
        const double tolerance = tiles ? 0.01 * largest_magnitude(all) : 0;
        const int largest = deciding.largest;
        if (tokens > 1 && (tiles || screens_rows(tokens))) {
          expect_rows_screened(wanted, found, largest, tolerance);
        } else {
          expect_screened(wanted, found, largest, tolerance, tokens == 1);
        }
      }
    }
  }
}

TEST_P(ScreenedHead, DecidesOfEachRowAsItsOwnSliceAsks) {
  const RandomMatrix head = usual_head();
  HeadModel model(head.matrix);
  model.model.logit_scale = 4.0f;
  constexpr int kRows = 20;
  std::vector<DecidingLogits> asked(kRows);
  for (int t = 0; t < kRows; ++t) {
    asked[t].largest = 1 + t % 3;
    if (t % 2 == 0) {
      asked[t].temperature = 0.3f * static_cast<float>(1 + t);
      asked[t].noise = GumbelNoise(5, static_cast<std::uint32_t>(t));
    }
  }
  StepScratch scratch;
  const auto all = model.run(kRows, false, {}, scratch);
  const auto screened = model.run(asked, scratch);
  const bool tiles = bf16_product_kernels() != nullptr;
  for (std::size_t t = 0; t < kRows; ++t) {
    const auto row = std::span(all).subspan(t * kVocab, kVocab);
    const auto own = std::span(screened).subspan(t * kVocab, kVocab);
    const float most = *std::max_element(row.begin(), row.end());
    expect_screened(
        with_noise(row, asked[t]),
        with_noise(own, asked[t]),
        asked[t].largest,
        tiles ? 0.01 * std::abs(most) : 0,
        tiles || screens_rows(kRows));
  }
  // One row is screened without tiles too.
  const auto alone = model.run(1, false, {}, scratch);
  for (const DecidingLogits& deciding : asked) {
    expect_screened(
        with_noise(alone, deciding),
        with_noise(model.run({&deciding, 1}, scratch), deciding),
        deciding.largest,
        0,
        true);
  }
}

TEST_P(ScreenedHead, LeavesThoseNearTheLargestAsTheyAre) {
  const RandomMatrix head = usual_head();
  const HeadModel model(head.matrix);
  StepScratch scratch;
  const auto all = model.run(1, false, {}, scratch);
  const auto best = best_of(all, 20);
  DecidingLogits deciding{2};
  deciding.depth = all[best[1]] - all[best.back()] + 1e-4f;
  const auto screened = model.run(1, false, deciding, scratch);
  expect_screened(all, screened, 20, 0, true);
  deciding.depth = 0;
  const auto fewer = model.run(1, false, deciding, scratch);
  EXPECT_NE(fewer[best.back()], all[best.back()]);
}

TEST_P(ScreenedHead, TellsOfNumbersThatAreNone) {
  const RandomMatrix head(
      PackedForm(PackedFormat::q8, 1, 128),
      kVocab,
      kDim,
      3);
  HeadModel model(head.matrix);
  model.model.final_norm.weight.assign(kDim, NAN);
  StepScratch scratch;
  for (const int tokens : {1, 20}) {
    const auto logits = model.run(tokens, false, {1}, scratch);
    EXPECT_TRUE(std::any_of(logits.begin(), logits.end(), [](float logit) {
      return std::isnan(logit);
    }));
  }
}

TEST_P(ScreenedHead, PausesWhereAllLogitsAreAlike) {
  const RandomMatrix head(
      PackedForm(PackedFormat::q8, 1, 128),
      kVocab,
      kDim,
      3,
      0.01f,
      testing::Codes::all_max);
  const HeadModel model(head.matrix);
  StepScratch scratch;
  const auto all = model.run(1, false, {}, scratch);
  EXPECT_EQ(scratch.screened_share(), 0);
  for (int step = 0; step < 4; ++step) {
    // Each row can be the largest, so each is read.
    EXPECT_EQ(model.run(1, false, {kVocab}, scratch), all);
  }
  EXPECT_EQ(scratch.screened_share(), 1);
  EXPECT_EQ(model.run(1, false, {1}, scratch), all);
}

INSTANTIATE_TEST_SUITE_P(
    Variants,
    ScreenedHead,
    ::testing::ValuesIn(testing::runnable_isas()),
    testing::isa_test_name);

TEST(HeadScreen, PaysForLargeHeadsOfMoreThanFourBits) {
  const std::size_t eight =
      packed_bytes({PackedFormat::q8, 1, 128}, 49152, 576);
  EXPECT_TRUE(pays_to_screen(49152, 576, eight));
  EXPECT_TRUE(pays_to_screen(49152, 576, std::size_t{2} * 49152 * 576));
  EXPECT_FALSE(pays_to_screen(
      49152,
      576,
      packed_bytes({PackedFormat::q4, 1, 8}, 49152, 576)));
  EXPECT_FALSE(pays_to_screen(512, 576, eight));
  EXPECT_FALSE(pays_to_screen(49152, 570, eight));
}

TEST(HeadScreen, KnowsHowFarItsRowsAre) {
  constexpr int kRows = 37;
  auto values = random_floats(std::size_t{kRows} * kDim, 4, 0.3f);
  std::fill(values.begin(), values.begin() + kDim, 0.0f);
  Tensor tensor;
  tensor.encoding = Encoding::f32;
  tensor.rows = kRows;
  tensor.cols = kDim;
  tensor.bytes = std::as_bytes(std::span(values));
  AlignedBytes memory(screen_bytes(kRows, kDim));
  std::vector<float> errors(screen_errors(kRows), NAN);
  ASSERT_EQ(errors.size(), 48u);
  ThreadPool pool(2);
  const PackedMatrix coarse = make_screen(tensor, memory.span(), errors, pool);
  std::vector<float> row(kDim);
  for (std::size_t r = 0; r < errors.size(); ++r) {
    if (r >= kRows) {
      EXPECT_EQ(errors[r], 0);
      continue;
    }
    read_packed_row(coarse, static_cast<int>(r), row);
    double squares = 0;
    double own = 0;
    for (std::size_t c = 0; c < row.size(); ++c) {
      const double value = values[r * kDim + c];
      squares += (row[c] - value) * (row[c] - value);
      own += value * value;
    }
    EXPECT_NEAR(errors[r], std::sqrt(squares), 1e-4);
    EXPECT_LE(errors[r], 0.2 * std::sqrt(own));
  }
}

}  // namespace
}  // namespace roofline
