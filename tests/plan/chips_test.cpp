#include "roofline/plan/chips.h"

#include <set>
#include <string>

#include <gtest/gtest.h>

#include "roofline/base/errors.h"
#include "roofline/base/units.h"

namespace roofline {
namespace {

TEST(Chips, AllAppleChipsFromM1ToM5AreThereOnce) {
  std::set<std::string> labels;
  std::set<std::string_view> names;
  for (const Chip& chip : chips()) {
    EXPECT_TRUE(labels.insert(chip.label()).second) << chip.label();
    names.insert(chip.name);
  }
  for (const char* name :
       {"M1",
        "M1 Pro",
        "M1 Max",
        "M1 Ultra",
        "M2",
        "M2 Pro",
        "M2 Max",
        "M2 Ultra",
        "M3",
        "M3 Pro",
        "M3 Max",
        "M3 Ultra",
        "M4",
        "M4 Pro",
        "M4 Max",
        "M5",
        "M5 Pro",
        "M5 Max"}) {
    EXPECT_EQ(names.count(name), 1u) << name;
  }
}

TEST(Chips, RatesGrowWithTheTierAndTheVariant) {
  const Chip* last = nullptr;
  for (const Chip& chip : chips()) {
    EXPECT_GT(chip.gigabytes_s, 50);
    EXPECT_LT(chip.gigabytes_s, 10000);
    EXPECT_GT(chip.tera_ops, 1);
    EXPECT_GE(chip.smallest_memory_gib(), 8);
    if (last && last->generation == chip.generation &&
        chip.vendor == ChipVendor::apple) {
      EXPECT_GT(chip.tera_ops, last->tera_ops) << chip.label();
      EXPECT_GE(chip.gigabytes_s, last->gigabytes_s) << chip.label();
      if (chip.tier != last->tier) {
        EXPECT_GT(chip.gigabytes_s, last->gigabytes_s) << chip.label();
      }
    }
    last = &chip;
  }
}

TEST(FindChip, CaseMakersAndHyphensDoNotMatter) {
  EXPECT_EQ(find_chip("apple m2 pro").name, "M2 Pro");
  EXPECT_EQ(find_chip("Apple M2 Pro").name, "M2 Pro");
  EXPECT_EQ(find_chip("m2-pro").name, "M2 Pro");
  EXPECT_EQ(find_chip("M2Pro").name, "M2 Pro");
  EXPECT_EQ(find_chip("M1").name, "M1");
  EXPECT_EQ(find_chip("NVIDIA GeForce RTX 4090").name, "RTX 4090");
  EXPECT_EQ(find_chip("NVIDIA H200").name, "H200");
  EXPECT_EQ(find_chip("A100").name, "A100 40GB");
}

TEST(FindChip, CoresAndMemoryChooseTheVariant) {
  EXPECT_EQ(find_chip("M2 Pro").gpu_cores, 16);
  EXPECT_EQ(find_chip("M2 Pro 19-core").gpu_cores, 19);
  EXPECT_EQ(find_chip("M2 Pro (19 GPU cores)").gpu_cores, 19);
  EXPECT_EQ(find_chip("M3 Max", 36).gigabytes_s, 300);
  EXPECT_EQ(find_chip("M3 Max", 128).gigabytes_s, 400);
  EXPECT_THROW(find_chip("M2 Pro 18-core"), UserError);
}

TEST(FindChip, AMachinesNameAndItsMemoryAreRead) {
  EXPECT_EQ(find_chip("MacBook Pro M2 Pro (16GB)").name, "M2 Pro");
  EXPECT_EQ(find_chip("Mac Studio M1 Ultra").name, "M1 Ultra");
  EXPECT_EQ(find_chip("MacBook Pro M3").name, "M3");
  EXPECT_EQ(memory_of_chip_name("MacBook Air M2 (8GB)"), 8);
  EXPECT_EQ(memory_of_chip_name("M2"), std::nullopt);
  EXPECT_EQ(memory_of_chip_name("A100 80GB"), std::nullopt);
}

TEST(FindChip, AnUnknownNameOffersTheNearest) {
  try {
    find_chip("M2 Prp");
    FAIL();
  } catch (const UserError& error) {
    EXPECT_NE(std::string(error.what()).find("M2 Pro"), std::string::npos);
  }
  EXPECT_EQ(look_up_chip("Xeon"), nullptr);
  EXPECT_EQ(look_up_chip(""), nullptr);
}

TEST(Chips, AGpuIsNeverSlowerThanItsCpu) {
  for (const Chip& chip : chips()) {
    const MachineRates gpu = gpu_rates(chip);
    const MachineRates cpu = cpu_rates(chip);
    EXPECT_GT(gpu.bytes_per_second, cpu.bytes_per_second) << chip.label();
    EXPECT_GT(gpu.operations_per_second, cpu.operations_per_second)
        << chip.label();
  }
}

TEST(ClaimedSpeedup, EachChipFindsTheGuidesRow) {
  EXPECT_EQ(claimed_speedup(find_chip("M1"))->most, 3);
  EXPECT_EQ(claimed_speedup(find_chip("M1 Max"))->least, 3);
  EXPECT_FALSE(claimed_speedup(find_chip("M1 Ultra")));
  EXPECT_EQ(claimed_speedup(find_chip("M2 Ultra"))->chips, "M2 Pro/Max/Ultra");
  EXPECT_EQ(claimed_speedup(find_chip("M3"))->most, 5);
  EXPECT_FALSE(claimed_speedup(find_chip("M4 Pro")));
  EXPECT_FALSE(claimed_speedup(find_chip("RTX 4090")));
}

TEST(GpuWorkingSetLimit, TwoThirdsUpTo36GibAndThreeQuartersAbove) {
  EXPECT_EQ(gpu_working_set_limit(36 * kGib), 24 * kGib);
  EXPECT_EQ(gpu_working_set_limit(48 * kGib), 36 * kGib);
  EXPECT_EQ(memory_budget(find_chip("M1 Max"), 64 * kGib), 48 * kGib);
  EXPECT_LT(memory_budget(find_chip("RTX 4090"), 24 * kGib), 24 * kGib);
}

}  // namespace
}  // namespace roofline
