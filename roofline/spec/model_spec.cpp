#include "roofline/spec/model_spec.h"

#include <cmath>

#include "roofline/base/errors.h"
#include "roofline/spec/rope.h"

namespace roofline {

namespace {

/// "NTK-aware" scaling whose base follows the length of the sequence.
RopeRegime grown_regime(
    const RopeSpec::Dynamic& dynamic,
    int dims,
    std::int64_t tokens) {
  const float stretch = dynamic.factor * static_cast<float>(tokens) /
                            static_cast<float>(dynamic.max_tokens) -
                        (dynamic.factor - 1.0f);
  const float exponent =
      static_cast<float>(dims) / static_cast<float>(dims - 2);
  const float theta = dynamic.theta * std::pow(stretch, exponent);
  return {base_frequencies(theta, dims), 1.0f, tokens};
}

}  // namespace

RopeRegime RopeSpec::regime_for(std::int64_t tokens) const {
  for (const RopeRegime& regime : regimes) {
    if (tokens <= regime.max_tokens) {
      return regime;
    }
  }
  if (dynamic) {
    return grown_regime(*dynamic, rotated_dims, tokens);
  }
  if (regimes.empty()) {
    fail<BugError>(
        "rope: no frequencies",
        "A RopeSpec needs at least one regime",
        "");
  }
  return regimes.back();
}

}  // namespace roofline
