#include "roofline/decode/device_sampler.h"

#include <algorithm>
#include <vector>

#include <mlx/compile.h>
#include <mlx/ops.h>

#include "roofline/decode/on_gpu.h"
#include "roofline/decode/random.h"
#include "roofline/decode/truncation.h"
#include "roofline/decode/vector_math.h"

namespace roofline {

namespace {

mx::array ids_of(std::span<const std::int32_t> ids) {
  return mx::array(ids.data(), {static_cast<int>(ids.size())});
}

/// Sets `values` [n] at `ids` [n] of `row` [vocab].
mx::array set_at(
    const mx::array& row,
    const mx::array& ids,
    const mx::array& values) {
  return mx::scatter(row, ids, mx::reshape(values, {-1, 1}), 0);
}

mx::array add_at(
    const mx::array& row,
    const mx::array& ids,
    const mx::array& values) {
  return mx::scatter_add(row, ids, mx::reshape(values, {-1, 1}), 0);
}

/// row − largest.
mx::array depth_of(const mx::array& row) {
  return mx::subtract(row, mx::max(row, /*keepdims=*/true));
}

/// GumbelNoise's mixer.
mx::array mix(mx::array x) {
  const auto fold = [&](std::uint32_t bits) {
    x = mx::bitwise_xor(x, mx::right_shift(x, mx::array(bits)));
  };
  fold(16);
  x = mx::multiply(x, mx::array(GumbelNoise::kFactor0));
  fold(15);
  x = mx::multiply(x, mx::array(GumbelNoise::kFactor1));
  fold(16);
  return x;
}

/// Exponentially distributed.
mx::array exponential(const mx::array& bits) {
  const auto share = mx::multiply(
      mx::add(mx::astype(bits, mx::float32), mx::array(0.5f)),
      mx::array(0x1p-32f));
  return mx::negative(mx::log1p(
      mx::negative(mx::minimum(share, mx::array(GumbelNoise::kLargestShare)))));
}

/// GumbelNoise::of tokens: from ids [blocks, kBlock] of them and [blocks, 1] of
/// their blocks, and the two numbers of the draw.
std::vector<mx::array> noise_of(const std::vector<mx::array>& in) {
  const auto& tokens = in[0];
  const auto& blocks = in[1];
  const auto hashed = [&](const mx::array& ids) {
    return mix(mx::bitwise_xor(mix(mx::add(ids, in[2])), in[3]));
  };
  const mx::array size(GumbelNoise::kBlock);
  const auto least = mx::divide(
      exponential(hashed(mx::add(blocks, mx::array(GumbelNoise::kBlocks)))),
      mx::astype(size, mx::float32));
  const auto pick = hashed(mx::add(blocks, mx::array(GumbelNoise::kPicks)));
  const auto picked =
      mx::equal(mx::remainder(pick, size), mx::remainder(tokens, size));
  const auto more =
      mx::where(picked, mx::array(0.0f), exponential(hashed(tokens)));
  return {mx::negative(mx::log(mx::add(least, more)))};
}

/// GumbelNoise::of the tokens from 0 on, float32 [vocab].
mx::array gumbel_noise(int vocab, const GumbelNoise& noise) {
  constexpr int kBlock = GumbelNoise::kBlock;
  const int blocks = (vocab + kBlock - 1) / kBlock;
  const auto ids = [&](int count, int width) {
    return mx::reshape(
        mx::arange(0, count * width, 1, mx::uint32),
        {count, width});
  };
  const std::vector<mx::array> in = {
      ids(blocks, kBlock),
      ids(blocks, 1),
      mx::array(noise.first()),
      mx::array(noise.second())};
  // Some ten kernels of seventy small operations; a CPU would need a compiler.
  static const auto fused = mx::compile(noise_of);
  const auto all = (on_gpu() ? fused(in) : noise_of(in))[0];
  return mx::slice(mx::reshape(all, {-1}), {0}, {vocab});
}

}  // namespace

bool DeviceSampler::can(const SamplingOptions& options) {
  return options.typical_p >= 1.0f && options.xtc_probability <= 0.0f &&
         options.dry.multiplier <= 0.0f && options.top_logprobs == 0;
}

DeviceSampler::DeviceSampler(const SamplingOptions& options, std::uint64_t seed)
    : options_(options), seed_(seed) {}

bool DeviceSampler::counts_tokens() const {
  return options_.penalty_window != 0 && (options_.repetition_penalty != 1.0f ||
                                          options_.presence_penalty != 0.0f ||
                                          options_.frequency_penalty != 0.0f);
}

// A token that occurs twice is set twice to the same, but counted twice.
mx::array DeviceSampler::penalised(
    const mx::array& row,
    const mx::array& recent) const {
  auto values = mx::take(row, recent, 0);
  if (options_.repetition_penalty != 1.0f) {
    const mx::array penalty(options_.repetition_penalty);
    values = mx::where(
        mx::greater(values, mx::array(0.0f)),
        mx::divide(values, penalty),
        mx::multiply(values, penalty));
  }
  values = mx::subtract(values, mx::array(options_.presence_penalty));
  const auto out = set_at(row, recent, values);
  if (options_.frequency_penalty == 0.0f) {
    return out;
  }
  return add_at(
      out,
      recent,
      mx::full(recent.shape(), -options_.frequency_penalty, mx::float32));
}

mx::array DeviceSampler::changed(
    const mx::array& logits,
    const std::optional<mx::array>& recent,
    std::span<const std::int32_t> banned) const {
  auto row = mx::reshape(logits, {-1});
  const int vocab = row.shape(0);
  std::vector<std::int32_t> never;
  std::copy_if(
      banned.begin(),
      banned.end(),
      std::back_inserter(never),
      [&](std::int32_t token) { return token >= 0 && token < vocab; });
  if (!never.empty()) {
    const auto ids = ids_of(never);
    row = set_at(row, ids, mx::full(ids.shape(), -kInfinity, mx::float32));
  }
  if (recent && counts_tokens()) {
    row = penalised(row, *recent);
  }
  if (options_.logit_bias.empty()) {
    return row;
  }
  std::vector<std::int32_t> tokens;
  std::vector<float> biases;
  for (const auto& [token, bias] : options_.logit_bias) {
    tokens.push_back(token);
    biases.push_back(bias);
  }
  return add_at(
      row,
      ids_of(tokens),
      mx::array(biases.data(), {static_cast<int>(biases.size())}));
}

/// Which of the row [vocab] may be drawn: those up to a last one in order of
/// falling logits, equal ones by their ids, found by sorting once.
mx::array DeviceSampler::kept(const mx::array& row) const {
  const int vocab = row.shape(0);
  auto order = mx::argsort(mx::negative(row));
  if (options_.top_k > 0 && options_.top_k < vocab) {
    order = mx::slice(order, {0}, {options_.top_k});
  }
  const auto sorted = mx::take(row, order, 0);
  const auto weight = mx::exp(depth_of(sorted));
  auto keep = mx::greater_equal(weight, mx::array(options_.min_p));
  if (options_.top_p < 1.0f) {
    const auto before = mx::cumsum(weight, 0, false, /*inclusive=*/false);
    const auto need = mx::multiply(mx::sum(weight), mx::array(options_.top_p));
    // The likeliest stays, however little is needed.
    const auto first =
        mx::equal(mx::arange(weight.shape(0)), mx::array(0, mx::int32));
    keep = mx::logical_and(keep, mx::logical_or(first, mx::less(before, need)));
  }
  const auto last = mx::subtract(
      mx::sum(mx::astype(keep, mx::int32), /*keepdims=*/true),
      mx::array(1, mx::int32));
  const auto logit = mx::take(sorted, last, 0);
  const auto id = mx::astype(mx::take(order, last, 0), mx::int32);
  return mx::logical_or(
      mx::greater(row, logit),
      mx::logical_and(
          mx::equal(row, logit),
          mx::less_equal(mx::arange(vocab), id)));
}

mx::array DeviceSampler::pick(const mx::array& row, std::uint64_t step) const {
  const auto index = [](const mx::array& hits) {
    return mx::astype(mx::argmax(hits, /*keepdims=*/true), mx::int32);
  };
  if (options_.temperature == 0.0f) {
    return index(row);
  }
  auto depth = depth_of(row);
  constexpr double kNoXtc = 1;
  if (truncates(row.size(), options_, kNoXtc)) {
    depth = mx::where(kept(row), depth, mx::array(-kInfinity));
  }
  const auto sharp =
      mx::multiply(depth, mx::array(sharpness(options_.temperature)));
  return index(
      mx::add(sharp, gumbel_noise(row.shape(0), token_noise(seed_, step))));
}

mx::array DeviceSampler::draw(
    const mx::array& logits,
    const std::optional<mx::array>& recent,
    std::span<const std::int32_t> banned,
    std::uint64_t step) const {
  const auto row = changed(logits, recent, banned);
  // NaN compares as false with everything.
  const auto sound = mx::logical_and(
      mx::all(mx::less(logits, mx::array(kInfinity)), /*keepdims=*/false),
      mx::greater(mx::max(row), mx::array(-kInfinity)));
  return mx::where(sound, pick(row, step), mx::array(-1, mx::int32));
}

}  // namespace roofline
