// The distinct ropes among a model's layers, and which regime of each holds at
// which length, so that a step computes each one's cosines and sines once.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "roofline/spec/model_spec.h"

namespace roofline {

class CpuRopes {
 public:
  explicit CpuRopes(const ModelSpec& spec);

  /// In the order of their first layer.
  const std::vector<RopeSpec>& all() const { return ropes_; }
  /// Throws BugError for a rope that no layer has.
  int index_of(const RopeSpec& rope) const;

  /// The regimes for a sequence of so many tokens, one a rope.
  std::shared_ptr<const std::vector<RopeRegime>> at(std::int64_t tokens);

 private:
  bool varies() const;

  std::vector<RopeSpec> ropes_;
  std::shared_ptr<const std::vector<RopeRegime>> current_;
};

}  // namespace roofline
