#include "roofline/model/graph_scans.h"

#include <algorithm>
#include <limits>
#include <vector>

#include <mlx/device.h>
#include <mlx/ops.h>

#include "roofline/kernels/recurrent/scan_op.h"

namespace roofline {

namespace {

/// Tokens of a chunk: its inside costs their square, its end a state update.
constexpr int kMambaChunk = 64;
/// Smaller: the inverse of a chunk's triangle is made by squaring, which loses
/// digits as it grows.
constexpr int kDeltaChunk = 16;

mx::array rows(const mx::array& x, int begin, int count) {
  auto from = mx::Shape(x.ndim(), 0);
  auto to = x.shape();
  from[0] = begin;
  to[0] = begin + count;
  return mx::slice(x, from, to);
}

mx::array turned(const mx::array& x) {
  return mx::swapaxes(x, -1, -2);
}

/// [tokens, heads, dims] → [groups, heads / groups, tokens, dims]
mx::array by_group(const mx::array& x, int groups) {
  const int heads = x.shape(1);
  return mx::reshape(
      mx::transpose(x, {1, 0, 2}),
      {groups, heads / groups, x.shape(0), x.shape(2)});
}

/// [tokens, heads] → [groups, heads / groups, tokens, 1]
mx::array by_group_scalar(const mx::array& x, int groups) {
  return by_group(mx::expand_dims(x, -1), groups);
}

/// exp(sum_i − sum_j) for i ≥ j, 0 elsewhere. sums: [..., tokens, 1].
mx::array pair_decays(const mx::array& sums) {
  const int tokens = sums.shape(-2);
  const auto differences = mx::subtract(sums, turned(sums));
  const mx::array never(-std::numeric_limits<float>::infinity());
  const auto seen = mx::tri(tokens, tokens, 0, mx::bool_);
  return mx::exp(mx::where(seen, differences, never));
}

/// The last of [..., tokens, 1], kept as [..., 1, 1].
mx::array last_of(const mx::array& sums) {
  auto from = mx::Shape(sums.ndim(), 0);
  auto to = sums.shape();
  from[sums.ndim() - 2] = to[sums.ndim() - 2] - 1;
  return mx::slice(sums, from, to);
}

/// Runs `chunk(begin, count, memory)` over all tokens, keeping order.
template <class Chunk>
Scanned in_chunks(int tokens, int size, mx::array memory, Chunk chunk) {
  std::vector<mx::array> parts;
  for (int begin = 0; begin < tokens; begin += size) {
    auto done = chunk(begin, std::min(size, tokens - begin), memory);
    parts.push_back(std::move(done.y));
    memory = std::move(done.memory);
  }
  auto y = parts.size() == 1 ? parts[0] : mx::concatenate(parts, 0);
  return {std::move(y), std::move(memory)};
}

/// [groups, per group, tokens, dims] → [tokens, heads, dims]
mx::array by_token(const mx::array& x) {
  const int heads = x.shape(0) * x.shape(1);
  return mx::transpose(
      mx::reshape(x, {heads, x.shape(2), x.shape(3)}),
      {1, 0, 2});
}

/// (1 + a)⁻¹ for strictly lower triangles a of at most kDeltaChunk rows:
/// (1 − a)(1 + a²)(1 + a⁴)…, whose powers end.
mx::array inverse_of_one_plus(const mx::array& a) {
  const int size = a.shape(-1);
  const auto one = mx::eye(size);
  auto inverse = mx::subtract(one, a);
  auto power = a;
  for (int reached = 2; reached < size; reached *= 2) {
    power = mx::matmul(power, power);
    inverse = mx::matmul(inverse, mx::add(one, power));
  }
  return inverse;
}

bool on_cpu() {
  return mx::default_device() == mx::Device::cpu;
}

}  // namespace

Scanned mamba2_scan_ops(
    const mx::array& x,
    const mx::array& steps,
    const mx::array& decay,
    const mx::array& b,
    const mx::array& c,
    const mx::array& memory) {
  const int groups = b.shape(1);
  const int heads = x.shape(1);
  const int per_group = heads / groups;
  const int head_dim = x.shape(2);
  const int state_dim = b.shape(2);
  const auto chunk = [&](int begin, int count, const mx::array& before) {
    const auto step = rows(steps, begin, count);
    const auto sums = by_group_scalar(
        mx::cumsum(mx::multiply(step, decay), 0, false, true),
        groups);
    const auto inputs = by_group(
        mx::multiply(rows(x, begin, count), mx::expand_dims(step, -1)),
        groups);
    const auto keys = by_group(rows(b, begin, count), groups);
    const auto queries = by_group(rows(c, begin, count), groups);
    const auto old =
        mx::reshape(before, {groups, per_group, head_dim, state_dim});
    const auto inside =
        mx::multiply(mx::matmul(queries, turned(keys)), pair_decays(sums));
    const auto y = mx::add(
        mx::matmul(inside, inputs),
        mx::multiply(mx::matmul(queries, turned(old)), mx::exp(sums)));
    const auto end = last_of(sums);
    const auto added = mx::matmul(
        turned(mx::multiply(inputs, mx::exp(mx::subtract(end, sums)))),
        keys);
    const auto after = mx::add(mx::multiply(old, mx::exp(end)), added);
    return Scanned{
        by_token(y),
        mx::reshape(after, {heads, head_dim, state_dim})};
  };
  return in_chunks(x.shape(0), kMambaChunk, memory, chunk);
}

Scanned gated_delta_scan_ops(
    const mx::array& q,
    const mx::array& k,
    const mx::array& v,
    const mx::array& log_decay,
    const mx::array& beta,
    const mx::array& memory) {
  const int groups = k.shape(1);
  const int heads = v.shape(1);
  const int per_group = heads / groups;
  const int key_dim = k.shape(2);
  const int head_dim = v.shape(2);
  const auto chunk = [&](int begin, int count, const mx::array& before) {
    const auto sums = by_group_scalar(
        mx::cumsum(rows(log_decay, begin, count), 0, false, true),
        groups);
    const auto rates = by_group_scalar(rows(beta, begin, count), groups);
    const auto queries = by_group(rows(q, begin, count), groups);
    const auto keys = by_group(rows(k, begin, count), groups);
    const auto values = by_group(rows(v, begin, count), groups);
    const auto old =
        mx::reshape(before, {groups, per_group, key_dim, head_dim});
    const auto decays = pair_decays(sums);
    const auto grown = mx::exp(sums);
    const auto end = last_of(sums);
    // What each token's write changes in those after it, all at once.
    const auto overlap = mx::multiply(
        mx::multiply(mx::matmul(keys, turned(keys)), decays),
        rates);
    const auto solve = inverse_of_one_plus(mx::tril(overlap, -1));
    const auto known = mx::matmul(mx::multiply(keys, grown), old);
    const auto writes =
        mx::matmul(solve, mx::multiply(mx::subtract(values, known), rates));
    const auto inside = mx::multiply(mx::matmul(queries, turned(keys)), decays);
    const auto y = mx::add(
        mx::matmul(mx::multiply(queries, grown), old),
        mx::matmul(inside, writes));
    const auto added = mx::matmul(
        turned(mx::multiply(keys, mx::exp(mx::subtract(end, sums)))),
        writes);
    const auto after = mx::add(mx::multiply(old, mx::exp(end)), added);
    return Scanned{by_token(y), mx::reshape(after, {heads, key_dim, head_dim})};
  };
  return in_chunks(v.shape(0), kDeltaChunk, memory, chunk);
}

Scanned mamba2_scan(
    const mx::array& x,
    const mx::array& steps,
    const mx::array& decay,
    const mx::array& b,
    const mx::array& c,
    const mx::array& memory) {
  if (!on_cpu()) {
    return mamba2_scan_ops(x, steps, decay, b, c, memory);
  }
  const auto ops = [](const std::vector<mx::array>& in) {
    auto out = mamba2_scan_ops(in[0], in[1], in[2], in[3], in[4], in[5]);
    return std::vector<mx::array>{out.y, out.memory};
  };
  auto out = mamba2_scan_op({x, steps, decay, b, c, memory}, ops);
  return {out[0], out[1]};
}

Scanned gated_delta_scan(
    const mx::array& q,
    const mx::array& k,
    const mx::array& v,
    const mx::array& log_decay,
    const mx::array& beta,
    const mx::array& memory) {
  if (!on_cpu()) {
    return gated_delta_scan_ops(q, k, v, log_decay, beta, memory);
  }
  const auto ops = [](const std::vector<mx::array>& in) {
    auto out = gated_delta_scan_ops(in[0], in[1], in[2], in[3], in[4], in[5]);
    return std::vector<mx::array>{out.y, out.memory};
  };
  auto out = gated_delta_scan_op({q, k, v, log_decay, beta, memory}, ops);
  return {out[0], out[1]};
}

}  // namespace roofline
