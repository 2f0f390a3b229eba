// The logits: the head's product, whole, or screened where few decide
// (docs/kernels.md).
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <functional>
#include <limits>
#include <numeric>
#include <span>
#include <vector>

#include "roofline/kernels/block/head_screen.h"
#include "roofline/kernels/block/step_run.h"

namespace roofline {

namespace {

/// How many standard deviations a coarse logit can be from the true one. Its
/// error is a sum of as many independent roundings as there are columns, each
/// even over its range: beyond so many lies less than 1 in 10^10.
constexpr float kScreenDeviations = 7.0f;
constexpr float kNothing = -std::numeric_limits<float>::infinity();
/// Row blocks of the head that a piece of work reads.
constexpr std::size_t kPieceBlocks = 4;

/// The most that the largest logit of a block can be, whose coarse logits are
/// y [rows]; spread: of an error of 1.
float reach_of(const float* y, const float* errors, float spread, int rows) {
  constexpr std::size_t kLanes = 4;
  std::array<float, kLanes> most;
  most.fill(kNothing);
  const auto take = [&](int row, std::size_t lane) {
    const float far = y[row] + spread * errors[row];
    most[lane] = most[lane] < far ? far : most[lane];
  };
  if (rows == kRowBlock) {  // a length that compilers unroll
    for (int row = 0; row < kRowBlock; row += kLanes) {
      for (std::size_t lane = 0; lane < kLanes; ++lane) {
        take(row + static_cast<int>(lane), lane);
      }
    }
  } else {
    for (int row = 0; row < rows; ++row) {
      take(row, 0);
    }
  }
  return std::max(std::max(most[0], most[1]), std::max(most[2], most[3]));
}

/// The places of the `count` largest values.
void largest(std::span<const float> values, int count, std::vector<int>& out) {
  if (count == 1) {
    const auto found = std::max_element(values.begin(), values.end());
    out.assign(1, static_cast<int>(found - values.begin()));
    return;
  }
  out.resize(values.size());
  std::iota(out.begin(), out.end(), 0);
  const auto kept = std::min(static_cast<std::size_t>(count), out.size());
  const auto more = [&](int a, int b) {
    return values[static_cast<std::size_t>(a)] >
           values[static_cast<std::size_t>(b)];
  };
  const auto end = out.begin() + static_cast<std::ptrdiff_t>(kept);
  if (end != out.end()) {
    std::nth_element(out.begin(), end, out.end(), more);
  }
  out.resize(kept);
}

}  // namespace

/// Scales and caps logits [n] where the model asks for it.
void StepRun::scale_logits(float* logits, int n) const {
  const float cap = model_.logit_softcap.value_or(0.0f);
  if (model_.logit_scale != 1.0f || cap != 0.0f) {
    kernels_.rows->scale_and_cap(logits, model_.logit_scale, cap, n);
  }
}

/// Leaves the last rows of each slice normed in what the head takes.
StepInput StepRun::head_input(int count) {
  const StepLayer* last =
      model_.layers.empty() ? nullptr : &model_.layers.back();
  const bool codes = model_.head.any_quantized() || screens();
  // In codes: what the head rounds, no later layer evens out. Of few rows they
  // keep both planes, which cost nothing.
  StepInput input = normed_input(trims() && count > kUntrimmedTokens);
  input.rounded = {};
  each_token(count, [&](int i) {
    const int t = s_.logit_rows[static_cast<std::size_t>(i)];
    if (last) {
      join(*last, last->feed_forward_post_norm, t);
    }
    norm(
        model_.final_norm,
        row(s_.x, t, model_.dim),
        model_.dim,
        row(s_.normed, i, model_.dim));
    if (!model_.exact && codes) {
      quantize(i, input, kHeadOctaves);
    }
  });
  return input;
}

void StepRun::head(float* logits) {
  const int count = static_cast<int>(s_.logit_rows.size());
  const StepInput input = head_input(count);
  lap(StepOp::norm);
  if (screens()) {
    coarse_logits(input, count, logits);
    deciding_logits(input, count, logits);
    lap(StepOp::head, &model_.screen.coarse);
    return;
  }
  const auto scale = [&](int first, int n, int token_begin, int token_end) {
    for (int t = token_begin; t < token_end; ++t) {
      scale_logits(row(logits, t, model_.vocab) + first, n);
    }
  };
  run_linear(
      kernels_,
      model_.head,
      input,
      count,
      logits,
      model_.vocab,
      pool_,
      scale,
      reads_of_next_step());
  lap(StepOp::head, &model_.head);
}

/// Leaves a row in what the coarse head meets. Returns the variance of what its
/// rounding changes in a logit whose row of the head has an error of 1: each
/// column's is even over the row's largest unit at most, and a row of the head
/// is at most kMostErrorRatio times as long as its error.
double StepRun::trim_coarse(int i, StepInput& coarse) const {
  quantize(i, coarse, kCoarseOctaves);
  const std::ptrdiff_t groups = model_.dim / kGroup;
  const float* scales = coarse.quantized.scales + i * groups;
  const double unit = *std::max_element(scales, scales + groups);
  constexpr double kEven = 1.0 / 12;  // the variance over a unit of 1
  return kEven * kMostErrorRatio * kMostErrorRatio * unit * unit;
}

/// Products with the coarse head, and how far each row block reaches.
void StepRun::coarse_logits(const StepInput& input, int count, float* logits) {
  ScreenedLogits& screened = s_.screened;
  const int blocks = model_.head.parts[0].row_blocks();
  screened.fit(count, blocks);
  StepInput coarse = input;
  if (head_on_tiles(count)) {
    coarse.rounded =
        RoundedRows::over(count, model_.dim, s_.normed_tiles.data());
  } else if (trims_coarse(count)) {
    s_.coarse_codes.grow(
        static_cast<std::size_t>(count),
        static_cast<std::size_t>(model_.dim));
    coarse.quantized = s_.coarse_codes.rows(count, model_.dim, true);
    coarse.quantized.stamp = new_stamp();
  }
  // A cap makes no difference larger.
  const float deviations = kScreenDeviations * std::abs(model_.logit_scale);
  each_token(count, [&](int i) {
    const float* x = row(s_.normed, i, model_.dim);
    double squares = 0;
    for (int c = 0; c < model_.dim; ++c) {
      squares += static_cast<double>(x[c]) * x[c];
    }
    double variance = squares / model_.dim;
    if (coarse.rounded.tiles != nullptr) {
      kernels_.bf16->round(x, model_.dim, i, 0, coarse.rounded);
    } else if (trims_coarse(count)) {
      variance += trim_coarse(i, coarse);
    }
    screened.spread.data()[i] =
        deviations * static_cast<float>(std::sqrt(variance));
  });
  const float* errors = model_.screen.errors.data();
  const auto bound = [&](int first, int n, int token_begin, int token_end) {
    for (int t = token_begin; t < token_end; ++t) {
      float* y = row(logits, t, model_.vocab);
      float* reach = row(screened.reach, t, blocks);
      const float spread = screened.spread.data()[t];
      scale_logits(y + first, n);
      for (int r = first; r < first + n; r += kRowBlock) {
        reach[r / kRowBlock] = reach_of(
            y + r,
            errors + r,
            spread,
            std::min(kRowBlock, first + n - r));
      }
    }
  };
  run_linear(
      kernels_,
      model_.screen.coarse,
      coarse,
      count,
      logits,
      model_.vocab,
      pool_,
      bound,
      reads_of_next_step());
}

/// The logits of a block of the head's rows for one token.
std::span<float> StepRun::head_block(
    const StepInput& input,
    int t,
    int block,
    float* logits) const {
  const PackedMatrix& head = model_.head.parts[0];
  product_piece(
      kernels_,
      head,
      {block, block + 1, t, t + 1},
      input,
      logits,
      model_.vocab);
  float* y = row(logits, t, model_.vocab) + std::ptrdiff_t{block} * kRowBlock;
  const int rows = std::min(kRowBlock, head.rows - block * kRowBlock);
  scale_logits(y, rows);
  return {y, static_cast<std::size_t>(rows)};
}

/// Whether one of a block's rows can be above `bound`, its noise added.
bool StepRun::reaches(
    const DecidingLogits& deciding,
    int t,
    int block,
    const float* logits,
    float bound) const {
  const int first = block * kRowBlock;
  const int rows = std::min(kRowBlock, model_.head.parts[0].rows - first);
  const float* y = logits + std::ptrdiff_t{t} * model_.vocab + first;
  const float* errors = model_.screen.errors.data() + first;
  const float spread = s_.screened.spread.data()[t];
  const float most = deciding.most_noise_of(block);
  for (int r = 0; r < rows; ++r) {
    const float far = y[r] + spread * errors[r];
    if (far + most >= bound && far + deciding.noise_of(first + r) >= bound) {
      return true;
    }
  }
  return false;
}

/// Reads the head where a token's logits reach furthest. What is found there
/// bounds the deciding ones from below; appends the blocks with rows that can
/// be above that bound.
void StepRun::list_blocks(
    const StepInput& input,
    int t,
    float* logits,
    std::vector<HeadBlock>& out) {
  static_assert(GumbelNoise::kBlock == kRowBlock);
  const DecidingLogits& deciding = *s_.deciding[static_cast<std::size_t>(t)];
  const bool noisy = deciding.temperature > 0;
  const int blocks = model_.head.parts[0].row_blocks();
  float* reach = row(s_.screened.reach, t, blocks);
  for (int block = 0; noisy && block < blocks; ++block) {
    reach[block] += deciding.most_noise_of(block);
  }
  thread_local std::vector<int> first;
  largest({reach, static_cast<std::size_t>(blocks)}, deciding.largest, first);
  thread_local std::vector<float> found;
  found.clear();
  for (const int block : first) {
    int token = block * kRowBlock;
    for (const float y : head_block(input, t, block, logits)) {
      const float noise = noisy ? deciding.noise_of(token) : 0.0f;
      // What is no number has no order.
      found.push_back(std::isnan(y) ? kNothing : y + noise);
      ++token;
    }
    reach[block] = kNothing;
  }
  const auto last =
      std::min(found.size(), static_cast<std::size_t>(deciding.largest)) - 1;
  const auto at = found.begin() + static_cast<std::ptrdiff_t>(last);
  std::nth_element(found.begin(), at, found.end(), std::greater<>());
  const float bound = *at - deciding.depth;
  for (int block = 0; block < blocks; ++block) {
    if (reach[block] >= bound &&
        (!noisy || reaches(deciding, t, block, logits, bound))) {
      out.push_back({t, block});
    }
  }
}

/// Puts true logits in the place of those coarse ones that can be among the
/// deciding ones of their token.
void StepRun::deciding_logits(
    const StepInput& input,
    int count,
    float* logits) {
  std::vector<std::vector<HeadBlock>>& of_tokens = s_.screened.of_tokens;
  auto list = [&](int t, int) {
    auto& own = of_tokens[static_cast<std::size_t>(t)];
    own.clear();
    list_blocks(input, t, logits, own);
  };
  pool_.run(count, list);
  std::vector<HeadBlock>& all = of_tokens.front();
  for (std::size_t t = 1; t < static_cast<std::size_t>(count); ++t) {
    all.insert(all.end(), of_tokens[t].begin(), of_tokens[t].end());
  }
  const int blocks = model_.head.parts[0].row_blocks();
  double reads = static_cast<double>(all.size());
  for (const DecidingLogits* deciding : s_.deciding) {
    reads += std::min(deciding->largest, blocks);  // by list_blocks()
  }
  s_.screened.note(reads / (static_cast<double>(blocks) * count));
  auto read = [&](int piece, int) {
    const std::size_t begin = static_cast<std::size_t>(piece) * kPieceBlocks;
    const std::size_t end = std::min(all.size(), begin + kPieceBlocks);
    for (std::size_t i = begin; i < end; ++i) {
      head_block(input, all[i].token, all[i].block, logits);
    }
  };
  pool_.run(
      static_cast<int>((all.size() + kPieceBlocks - 1) / kPieceBlocks),
      read);
}

}  // namespace roofline
