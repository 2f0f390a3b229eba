#include "roofline/base/cpu_features.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

#include "roofline/base/errors.h"

namespace roofline {
namespace {

/// Runs in a child process: the variable is read once.
int active_with(const char* value) {
  ::setenv("ROOFLINE_ISA", value, 1);
  try {
    return static_cast<int>(active_isa());
  } catch (const UserError&) {
    return 100;
  }
}

TEST(CpuFeaturesDeathTest, TheEnvironmentForcesAnInstructionSet) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(
      std::exit(active_with("generic")),
      ::testing::ExitedWithCode(static_cast<int>(Isa::generic)),
      "");
  EXPECT_EXIT(
      std::exit(active_with("")),
      ::testing::ExitedWithCode(static_cast<int>(best_isa())),
      "");
}

TEST(CpuFeaturesDeathTest, AnUnknownInstructionSetIsTheUsersError) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(
      std::exit(active_with("sse9")),
      ::testing::ExitedWithCode(100),
      "");
}

TEST(CpuFeatures, AForcedInstructionSetIsTheActiveOne) {
  const Isa before = active_isa();
  for (const Isa isa : runnable_isas()) {
    force_isa(isa);
    EXPECT_EQ(active_isa(), isa);
  }
  force_isa(before);
}

TEST(CpuFeatures, NamesAreTheOnesTheEnvironmentTakes) {
  EXPECT_EQ(isa_name(Isa::generic), "generic");
  EXPECT_EQ(isa_name(Isa::avx2), "avx2");
  EXPECT_EQ(isa_name(Isa::avx512), "avx512");
  EXPECT_EQ(isa_name(Isa::amx), "amx");
  EXPECT_EQ(isa_name(Isa::neon), "neon");
  EXPECT_EQ(isa_name(Isa::i8mm), "i8mm");
}

TEST(CpuFeatures, AMachineRunsOnlyItsOwnFamilysSets) {
  const auto isas = runnable_isas();
  ASSERT_FALSE(isas.empty());
  EXPECT_EQ(isas.front(), Isa::generic);
  EXPECT_EQ(isas.back(), best_isa());
  EXPECT_FALSE(isa_runs(Isa::avx2) && isa_runs(Isa::neon));
  for (const Isa isa : kAllIsas) {
    if (!can_force(isa)) {
      EXPECT_THROW(force_isa(isa), BugError) << isa_name(isa);
    }
  }
}

TEST(CpuFeatures, TheProcessorHasAName) {
  const std::string name = cpu_name();
  EXPECT_FALSE(name.empty());
  EXPECT_NE(name.front(), ' ');
  EXPECT_NE(name.back(), ' ');
}

TEST(CpuFeaturesDeathTest, AnotherFamilysInstructionSetIsTheUsersError) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  for (const Isa isa : kAllIsas) {
    if (!isa_runs(isa)) {
      EXPECT_EXIT(
          std::exit(active_with(isa_name(isa).data())),
          ::testing::ExitedWithCode(100),
          "");
    }
  }
}

TEST(CpuFeatures, EmulatedTilesCanBeForcedButDoNotRun) {
  if (!can_force(Isa::amx) || best_isa() == Isa::amx) {
    GTEST_SKIP() << "there are none, or real ones";
  }
  EXPECT_FALSE(isa_runs(Isa::amx));
  const Isa before = active_isa();
  force_isa(Isa::amx);
  EXPECT_EQ(active_isa(), Isa::amx);
  force_isa(before);
}

#if defined(__linux__)
TEST(CpuFeatures, AmxRunsOnlyWhereTheSystemShowsIt) {
  std::ifstream info("/proc/cpuinfo");
  const std::string text{std::istreambuf_iterator<char>(info), {}};
  if (text.find("amx_tile") == std::string::npos) {
    EXPECT_FALSE(isa_runs(Isa::amx));
  }
}
#endif

#if defined(__x86_64__) && defined(__GNUC__)
TEST(CpuFeatures, AgreesWithTheCompilersOwnDetection) {
  const bool avx2 = __builtin_cpu_supports("avx2") != 0;
  const bool vnni = __builtin_cpu_supports("avx512vnni") != 0 &&
                    __builtin_cpu_supports("avx512bw") != 0;
  EXPECT_EQ(best_isa() >= Isa::avx2, avx2);
  EXPECT_EQ(best_isa() >= Isa::avx512, vnni);
}
#endif

}  // namespace
}  // namespace roofline
