#include "roofline/model/cpu_ropes.h"

#include <algorithm>
#include <utility>

#include "roofline/base/errors.h"

namespace roofline {

namespace {

bool same(const RopeRegime& a, const RopeRegime& b) {
  return a.frequencies == b.frequencies && a.magnitude == b.magnitude &&
         a.max_tokens == b.max_tokens;
}

bool same(
    const std::optional<RopeSpec::Dynamic>& a,
    const std::optional<RopeSpec::Dynamic>& b) {
  if (!a || !b) {
    return a.has_value() == b.has_value();
  }
  return a->theta == b->theta && a->factor == b->factor &&
         a->max_tokens == b->max_tokens;
}

bool same(const RopeSpec& a, const RopeSpec& b) {
  return a.rotated_dims == b.rotated_dims && a.layout == b.layout &&
         same(a.dynamic, b.dynamic) &&
         std::equal(
             a.regimes.begin(),
             a.regimes.end(),
             b.regimes.begin(),
             b.regimes.end(),
             [](const RopeRegime& x, const RopeRegime& y) {
               return same(x, y);
             });
}

}  // namespace

CpuRopes::CpuRopes(const ModelSpec& spec) {
  for (const LayerSpec& layer : spec.layers) {
    const auto& rope = layer.attention->rope;
    const bool known =
        !rope ||
        std::any_of(ropes_.begin(), ropes_.end(), [&](const RopeSpec& other) {
          return same(other, *rope);
        });
    if (!known) {
      ropes_.push_back(*rope);
    }
  }
}

int CpuRopes::index_of(const RopeSpec& rope) const {
  for (std::size_t i = 0; i < ropes_.size(); ++i) {
    if (same(ropes_[i], rope)) {
      return static_cast<int>(i);
    }
  }
  fail<BugError>(
      "cpu_ropes: an unknown rope",
      "no layer of the spec has it",
      "Ask for a rope of the same spec");
}

std::shared_ptr<const std::vector<RopeRegime>> CpuRopes::at(
    std::int64_t tokens) {
  if (!current_ || varies()) {
    auto regimes = std::make_shared<std::vector<RopeRegime>>();
    for (const RopeSpec& rope : ropes_) {
      regimes->push_back(rope.regime_for(tokens));
    }
    current_ = std::move(regimes);
  }
  return current_;
}

bool CpuRopes::varies() const {
  return std::any_of(ropes_.begin(), ropes_.end(), [](const RopeSpec& rope) {
    return rope.dynamic || rope.regimes.size() > 1;
  });
}

}  // namespace roofline
