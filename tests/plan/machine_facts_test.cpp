#include "roofline/plan/machine_facts.h"

#include <gtest/gtest.h>

#include "roofline/plan/system_texts.h"

namespace roofline {
namespace {

TEST(MachineFacts, MeminfoFieldsAreInBytes) {
  const char* text = "MemTotal:       1000 kB\nMemFree:   10 kB\n";
  EXPECT_EQ(parse_meminfo(text, "MemTotal"), 1000u * 1024);
  EXPECT_EQ(parse_meminfo(text, "Mem"), std::nullopt);
}

TEST(MachineFacts, AGroupWithoutALimitHasNone) {
  EXPECT_EQ(parse_memory_max("max\n"), std::nullopt);
  EXPECT_EQ(parse_memory_max("9223372036854771712\n"), std::nullopt);
  EXPECT_EQ(parse_memory_max(""), std::nullopt);
  EXPECT_EQ(parse_memory_max("1048576\n"), 1048576u);
}

TEST(MachineFacts, PressureIsTheShareOfTheLastTenSeconds) {
  const auto pressure =
      parse_pressure("some avg10=1.25 avg60=0.00 avg300=0.00 total=0\n");
  ASSERT_TRUE(pressure);
  EXPECT_DOUBLE_EQ(*pressure, 1.25);
  EXPECT_EQ(parse_pressure("nothing"), std::nullopt);
}

TEST(MachineFacts, TheSystemsNameLosesItsQuotes) {
  EXPECT_EQ(
      parse_os_release("ID=debian\nPRETTY_NAME=\"Debian 12\"\n"),
      "Debian 12");
}

TEST(MachineFacts, TheFastestCoreCounts) {
  EXPECT_EQ(
      parse_cpuinfo_hertz("cpu MHz\t\t: 2000.5\ncpu MHz\t\t: 3000\n"),
      3e9);
  EXPECT_EQ(parse_cpuinfo_hertz(""), std::nullopt);
}

TEST(MachineFacts, ThisMachineHasMemoryAndCores) {
  const MachineFacts facts = machine_facts();
  EXPECT_GT(facts.memory_bytes, 0u);
  EXPECT_GE(facts.usable_cores, 1);
  EXPECT_FALSE(facts.system.empty());
}

}  // namespace
}  // namespace roofline
