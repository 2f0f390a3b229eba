#include "roofline/model/graph_rope.h"

#include <algorithm>

#include <mlx/fast.h>
#include <mlx/ops.h>

namespace roofline {

namespace {

/// Sequences of a batch can be in different regimes; more than this many at
/// once only cost uploads.
constexpr std::size_t kRegimesHeld = 4;

}  // namespace

GraphRope::GraphRope(const RopeSpec& spec, int head_dim)
    : spec_(spec), head_dim_(head_dim) {}

GraphRope::Uploaded GraphRope::upload(const RopeRegime& regime, mx::Dtype dtype)
    const {
  std::vector<float> wavelengths;
  for (const auto frequency : regime.frequencies) {
    wavelengths.push_back(1.0f / frequency);
  }
  const auto count = static_cast<int>(wavelengths.size());
  Uploaded uploaded{
      regime,
      std::nullopt,
      mx::array(wavelengths.data(), {count})};
  if (regime.magnitude != 1.0f) {
    // Only the rotated dims take the factor.
    std::vector<float> factors(head_dim_, 1.0f);
    std::fill_n(factors.begin(), spec_.rotated_dims, regime.magnitude);
    uploaded.factors =
        mx::astype(mx::array(factors.data(), {head_dim_}), dtype);
  }
  return uploaded;
}

const GraphRope::Uploaded& GraphRope::regime_for(
    std::int64_t tokens,
    mx::Dtype dtype) {
  const bool single = spec_.regimes.size() == 1 && !spec_.dynamic;
  if (single && !uploaded_.empty()) {
    return uploaded_.front();
  }
  const auto regime = spec_.regime_for(tokens);
  const auto found = std::find_if(
      uploaded_.begin(),
      uploaded_.end(),
      [&](const Uploaded& each) {
        return each.regime.frequencies == regime.frequencies &&
               each.regime.magnitude == regime.magnitude;
      });
  if (found != uploaded_.end()) {
    return *found;
  }
  if (uploaded_.size() == kRegimesHeld) {
    uploaded_.erase(uploaded_.begin());
  }
  uploaded_.push_back(upload(regime, dtype));
  return uploaded_.back();
}

mx::array GraphRope::operator()(
    const mx::array& x,
    std::int64_t position,
    std::int64_t sequence_tokens) {
  const auto& used = regime_for(sequence_tokens, x.dtype());
  return mx::fast::rope(
      used.factors ? mx::multiply(x, *used.factors) : x,
      spec_.rotated_dims,
      spec_.layout == RopeLayout::interleaved,
      /* base = */ std::nullopt,
      /* scale = */ 1.0f,
      static_cast<int>(position),
      used.wavelengths);
}

}  // namespace roofline
