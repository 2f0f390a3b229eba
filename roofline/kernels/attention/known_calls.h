// Whether attention calls are cut as those before them were. The layers of a
// step mostly are: they differ in where their keys and values lie.
#pragma once

#include <span>
#include <vector>

#include "roofline/kernels/attention/attention.h"

namespace roofline {

class KnownCalls {
 public:
  /// Whether these differ from the kept ones in nothing but addresses, scales
  /// and caps.
  bool alike(std::span<const AttentionArgs> calls) const;
  void keep(std::span<const AttentionArgs> calls);
  void forget() { calls_.clear(); }

 private:
  std::vector<AttentionArgs> calls_;  ///< their segments are in segments_
  std::vector<KvSegment> segments_;
};

}  // namespace roofline
