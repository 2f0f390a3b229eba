#include "roofline/plan/powermetrics.h"

#include <fstream>
#include <iterator>
#include <string>

#include <gtest/gtest.h>

namespace roofline {
namespace {

// 2026-09-11 13:41:46 -0700
constexpr double kFirstEnd = 1789159306;

std::string read_data(const std::string& name) {
  std::ifstream file(std::string(ROOFLINE_TEST_DATA) + "/powermetrics/" + name);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string sample_text(const std::string& format = "txt") {
  return read_data("m2_two_samples." + format);
}

// What `powermetrics -s cpu_power -n 1` of macOS 13 wrote on an M1 Max that
// compiled: no GPU section, no combined power.
TEST(Powermetrics, ReadsWhatWasRecordedOnAnM1Max) {
  const auto samples = parse_powermetrics(read_data("m1_max_recorded.txt"));
  ASSERT_EQ(samples.size(), 1u);
  EXPECT_DOUBLE_EQ(samples[0].seconds, 5.00624);
  // 2022-08-16 23:39:54 +0200
  EXPECT_EQ(samples[0].end_unix_seconds, 1660685994);
  EXPECT_DOUBLE_EQ(samples[0].cpu_watts.value(), 23.639);
  EXPECT_DOUBLE_EQ(samples[0].gpu_watts.value(), 0.109);
  EXPECT_DOUBLE_EQ(samples[0].ane_watts.value(), 0);
  EXPECT_DOUBLE_EQ(samples[0].total_watts.value(), 23.748);
  EXPECT_EQ(samples[0].gpu_active, std::nullopt);
  EXPECT_EQ(samples[0].gpu_hz, std::nullopt);
}

TEST(Powermetrics, ReadsPowerAndTheGpusStateOfEachSample) {
  const auto samples = parse_powermetrics(sample_text());
  ASSERT_EQ(samples.size(), 2u);
  EXPECT_DOUBLE_EQ(samples[0].seconds, 1.0029);
  EXPECT_EQ(samples[0].end_unix_seconds, kFirstEnd);
  EXPECT_DOUBLE_EQ(samples[0].cpu_watts.value(), 0.823);
  EXPECT_DOUBLE_EQ(samples[0].gpu_watts.value(), 0.026);
  EXPECT_DOUBLE_EQ(samples[0].ane_watts.value(), 0.323);
  EXPECT_DOUBLE_EQ(samples[0].total_watts.value(), 1.172);
  EXPECT_DOUBLE_EQ(samples[0].gpu_active.value(), 0.25);
  EXPECT_DOUBLE_EQ(samples[1].gpu_hz.value(), 612e6);
}

TEST(Powermetrics, ReadsPropertyListsOneAfterAnother) {
  const auto samples = parse_powermetrics(sample_text("plist"));
  ASSERT_EQ(samples.size(), 2u);
  EXPECT_DOUBLE_EQ(samples[0].seconds, 1.0029);
  EXPECT_EQ(samples[0].end_unix_seconds, kFirstEnd);
  EXPECT_DOUBLE_EQ(samples[0].cpu_watts.value(), 0.823);
  EXPECT_DOUBLE_EQ(samples[0].total_watts.value(), 1.172);
  EXPECT_DOUBLE_EQ(samples[0].gpu_active.value(), 0.25);
  EXPECT_DOUBLE_EQ(samples[0].gpu_hz.value(), 444e6);
  EXPECT_EQ(samples[0].thermal_pressure, "Nominal");
  EXPECT_EQ(thermal_pressure_of(samples), "Heavy");
}

TEST(Powermetrics, APropertyListWithoutPowersTellsEnergies) {
  const auto samples = parse_powermetrics(sample_text("plist"));
  ASSERT_EQ(samples.size(), 2u);
  EXPECT_DOUBLE_EQ(samples[1].cpu_watts.value(), 0.825 / 1.01009);
  EXPECT_DOUBLE_EQ(
      samples[1].total_watts.value(),
      (0.825 + 0.026 + 0.324) / 1.01009);
}

TEST(Powermetrics, ReadsIntelsPackagePowerAndThermalPressure) {
  const auto samples = parse_powermetrics(
      "*** Sampled system activity (?) (500.0ms elapsed) ***\n"
      "Intel energy model derived package power (CPUs+GT+SA): 7.25W\n"
      "**** Thermal pressure ****\n\nCurrent pressure level: Moderate\n"
      "GPU idle residency: 40.00%\n");
  ASSERT_EQ(samples.size(), 1u);
  EXPECT_DOUBLE_EQ(samples[0].total_watts.value(), 7.25);
  EXPECT_DOUBLE_EQ(samples[0].gpu_active.value(), 0.6);
  EXPECT_EQ(thermal_pressure_of(samples), "Moderate");
}

TEST(Powermetrics, APropertyListCutAnywhereIsNoHarm) {
  const std::string whole = sample_text("plist");
  for (std::size_t size = 0; size < whole.size(); size += 7) {
    EXPECT_LE(parse_powermetrics(whole.substr(0, size)).size(), 2u);
  }
  EXPECT_TRUE(parse_powermetrics("<plist <<<>>> </dict></array>").empty());
}

TEST(Powermetrics, GarbageHasNoSamples) {
  EXPECT_TRUE(parse_powermetrics("").empty());
  EXPECT_TRUE(parse_powermetrics("CPU Power: 3 mW\n").empty());
  EXPECT_TRUE(
      parse_powermetrics("*** Sampled system activity (\nCPU Power: x\n")
          .empty());
}

TEST(Powermetrics, WithoutATotalThePartsAreAdded) {
  const auto samples = parse_powermetrics(
      "*** Sampled system activity (?) (500.0ms elapsed) ***\n"
      "CPU Power: 1000 mW\nGPU Power: 500 mW\n");
  ASSERT_EQ(samples.size(), 1u);
  EXPECT_EQ(samples[0].end_unix_seconds, std::nullopt);
  EXPECT_DOUBLE_EQ(samples[0].total_watts.value(), 1.5);
}

TEST(Powermetrics, OnlySamplesOfTheRunAreTaken) {
  const auto samples = parse_powermetrics(sample_text());
  const PowerDuring first = power_during(samples, kFirstEnd - 3, 2.5);
  EXPECT_TRUE(first.dated);
  EXPECT_EQ(first.samples.size(), 1u);
  const PowerDuring other = power_during(samples, 1000, 1);
  EXPECT_FALSE(other.dated);
  EXPECT_EQ(other.samples.size(), 2u);
}

TEST(Powermetrics, AMeanWeighsSamplesByTheirTime) {
  std::vector<PowerSample> samples(3);
  samples[0].seconds = 1;
  samples[0].total_watts = 4;
  samples[1].seconds = 3;
  samples[1].total_watts = 8;
  samples[2].seconds = 5;
  EXPECT_EQ(mean_of(samples, &PowerSample::total_watts), 7.0);
  EXPECT_EQ(mean_of(samples, &PowerSample::gpu_hz), std::nullopt);
}

}  // namespace
}  // namespace roofline
