// The instruction sets that this machine can run or emulate, for tests of every
// variant.
#pragma once

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "roofline/base/cpu_features.h"

namespace roofline::testing {

inline std::vector<Isa> runnable_isas() {
  std::vector<Isa> isas;
  for (const Isa isa : kAllIsas) {
    if (can_force(isa)) {
      isas.push_back(isa);
    }
  }
  return isas;
}

/// The name of the variant that must run when isa is forced. Of the sets only
/// i8mm and amx have none of their own in some ops, which take NEON's and
/// AVX-512's.
inline std::string variant_name(Isa isa, bool has_own) {
  if (!has_own) {
    isa = isa == Isa::i8mm ? Isa::neon : isa == Isa::amx ? Isa::avx512 : isa;
  }
  return std::string(isa_name(isa));
}

/// A test that runs once an instruction set, with that one forced.
class EveryIsa : public ::testing::TestWithParam<Isa> {
 protected:
  void SetUp() override {
    before_ = active_isa();
    force_isa(GetParam());
  }
  void TearDown() override { force_isa(before_); }

 private:
  Isa before_ = Isa::generic;
};

inline std::string isa_test_name(const ::testing::TestParamInfo<Isa>& info) {
  return std::string(isa_name(info.param));
}

}  // namespace roofline::testing
