#include "roofline/quantize/round_matrix.h"

#include <cstddef>
#include <utility>

#include "roofline/quantize/gptq.h"
#include "roofline/quantize/refine.h"

namespace roofline {

namespace {

/// What an error in each column weighs, AWQ's scales counted.
std::vector<float> importance_of(
    const std::string& name,
    const SquareMatrix& moments,
    const MatrixRounder::InputScales& folded) {
  const auto scales = folded.find(name);
  std::vector<float> importance;
  for (int col = 0; col < moments.size; ++col) {
    const float scale = scales == folded.end()
                            ? 1.0f
                            : scales->second[static_cast<std::size_t>(col)];
    importance.push_back(moments.at(col, col) / (scale * scale));
  }
  return importance;
}

}  // namespace

CodeMatrix MatrixRounder::round(
    const std::string& name,
    FloatMatrix weights,
    const MatrixFormat& format,
    const StatisticsByName& statistics,
    const InputScales& folded) const {
  const auto find = [&](const std::string& key) {
    const auto found = statistics.find(key);
    return found == statistics.end() ? nullptr : found->second.get();
  };
  const InputStatistics* all = find(expert_stack(name));
  if (find(expert_name(name, 0)) == nullptr) {
    return round_one(name, std::move(weights), format, find(name), all, folded);
  }
  int experts = 0;
  while (find(expert_name(name, experts)) != nullptr) {
    ++experts;
  }
  CodeMatrix out = empty_codes(0, weights.cols, format, options_.scale_type);
  const int rows = weights.rows / experts;
  const auto size = static_cast<std::ptrdiff_t>(rows) * weights.cols;
  for (int expert = 0; expert < experts; ++expert) {
    const auto begin = weights.values.begin() + expert * size;
    out.append(round_one(
        name,
        {rows, weights.cols, {begin, begin + size}},
        format,
        find(expert_name(name, expert)),
        find(name),
        folded));
  }
  return out;
}

/// own: of the matrix's inputs, or null; all: of all experts', or null.
CodeMatrix MatrixRounder::round_one(
    const std::string& name,
    FloatMatrix weights,
    const MatrixFormat& format,
    const InputStatistics* own,
    const InputStatistics* all,
    const InputScales& folded) const {
  if (method_ == QuantizeMethod::plain) {
    return round_plain(weights, format, options_.scale_type, pool_);
  }
  own = own != nullptr && own->tokens() > 0 ? own : all;
  if (own == nullptr || own->tokens() == 0) {
    return round_plain(
        weights,
        format,
        options_.scale_type,
        pool_,
        RangeSearch::narrower);
  }
  const SquareMatrix moments = damped(
      all != nullptr ? filled_up(*own, *all) : own->moments(),
      name == "embed" ? options_.lookup_damping : options_.damping);
  if (method_ == QuantizeMethod::awq) {
    return round_plain(
        weights,
        format,
        options_.scale_type,
        pool_,
        RangeSearch::narrower,
        importance_of(name, moments, folded));
  }
  if (makes_up()) {
    make_up_for_lag(
        weights,
        own->lag(),
        moments,
        options_.make_up_share,
        pool_);
  }
  CodeMatrix codes = gptq(weights, moments, format, options_.scale_type, pool_);
  refine(codes, weights, moments, options_.refine_rounds, pool_);
  return codes;
}

}  // namespace roofline
