// The instruction sets that this machine can run, for tests of every variant.
#pragma once

#include <vector>

#include <gtest/gtest.h>

#include "roofline/base/cpu_features.h"

namespace roofline::testing {

inline std::vector<Isa> runnable_isas() {
  std::vector<Isa> isas{Isa::generic};
  for (const Isa isa : {Isa::avx2, Isa::avx512}) {
    if (isa <= best_isa()) {
      isas.push_back(isa);
    }
  }
  return isas;
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
