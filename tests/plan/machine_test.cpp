#include "roofline/plan/machine.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "roofline/base/core_count.h"
#include "roofline/base/cpu_features.h"
#include "roofline/base/thread_pool.h"

namespace roofline {
namespace {

namespace fs = std::filesystem;

/// A cache folder of its own for each test.
class Machine : public testing::Test {
 protected:
  void SetUp() override {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::path(testing::TempDir()) /
              ("roofline_machine_" + std::string(test->name()));
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    setenv("ROOFLINE_CACHE", folder_.c_str(), 1);
  }
  void TearDown() override {
    unsetenv("ROOFLINE_CACHE");
    fs::permissions(folder_, fs::perms::owner_all);
    fs::remove_all(folder_);
  }

  fs::path file() const { return folder_ / "machine.json"; }
  void write(const std::string& text) const { std::ofstream(file()) << text; }
  // A profile that says so for this processor.
  std::string kept(const std::string& bandwidth, int threads = 1) const {
    return R"({"version": 1, "profiles": [{"device": )" +
           nlohmann::json(cpu_name()).dump() + R"(, "threads": )" +
           std::to_string(threads) + R"(, "read_bandwidth": )" + bandwidth +
           R"(, "working_set_bytes": 1000}]})";
  }

  fs::path folder_;
};

TEST_F(Machine, KeepsWhatItMeasured) {
  EXPECT_FALSE(load_machine_profile(1));
  const auto measured = measure_machine(1);
  // Slower than any disk or faster than any memory would be a mistake.
  EXPECT_GT(measured.read_bandwidth, 1e8);
  EXPECT_LT(measured.read_bandwidth, 1e13);
  EXPECT_EQ(measured.cpu, cpu_name());
  const auto loaded = load_machine_profile(1);
  ASSERT_TRUE(loaded);
  EXPECT_DOUBLE_EQ(loaded->read_bandwidth, measured.read_bandwidth);
  EXPECT_EQ(loaded->working_set_bytes, measured.working_set_bytes);
  EXPECT_EQ(loaded->threads, 1);
  EXPECT_EQ(loaded->cpu, measured.cpu);
}

TEST_F(Machine, TakesTheKeptProfileRatherThanMeasuring) {
  write(kept("12345"));
  EXPECT_EQ(machine_profile(1).read_bandwidth, 12345);
}

TEST_F(Machine, KeepsOneProfileForEachNumberOfThreads) {
  write(kept("12345", 7));
  EXPECT_FALSE(load_machine_profile(1));
  measure_machine(1);
  ASSERT_TRUE(load_machine_profile(7));
  EXPECT_EQ(load_machine_profile(7)->read_bandwidth, 12345);
}

TEST_F(Machine, ReplacesAnOlderProfile) {
  write(kept("12345"));
  const auto measured = measure_machine(1);
  EXPECT_DOUBLE_EQ(
      load_machine_profile(1)->read_bandwidth,
      measured.read_bandwidth);
  std::ifstream in(file());
  EXPECT_EQ(nlohmann::json::parse(in)["profiles"].size(), 1u);
}

TEST_F(Machine, MeasuresAgainWhenTheFileIsBroken) {
  for (const std::string& broken :
       {std::string(""),
        std::string("{"),
        std::string("[]"),
        std::string("null"),
        std::string("{\"version\": 1}"),
        std::string("{\"version\": 1, \"profiles\": 3}"),
        std::string("{\"version\": 1, \"profiles\": [null, 3, {}]}"),
        std::string("{\"version\": 0, \"profiles\": []}"),
        std::string(100, '\0'),
        kept("\"fast\""),
        kept("0"),
        kept("-5"),
        kept("1e999")}) {
    write(broken);
    EXPECT_FALSE(load_machine_profile(1)) << broken;
  }
  EXPECT_GT(machine_profile(1).read_bandwidth, 0);
  EXPECT_TRUE(load_machine_profile(1));
}

TEST_F(Machine, DoesWithoutAFileWhenTheFolderCannotBeWritten) {
  fs::create_directory(file());  // in the file's place
  EXPECT_GT(machine_profile(1).read_bandwidth, 0);
}

TEST_F(Machine, ARunThatReadMoreThanWasKeptHasItMeasuredAnew) {
  const int threads = ThreadPool::global().threads();
  write(kept("12345", threads));
  EXPECT_EQ(profile_beside(1001, 12345).read_bandwidth, 12345);
  // As few bytes as this may lie in a cache.
  EXPECT_EQ(profile_beside(1000, 12346).read_bandwidth, 12345);
  EXPECT_GT(profile_beside(1001, 12346).read_bandwidth, 12345);
  EXPECT_GT(load_machine_profile(threads)->read_bandwidth, 12345);
}

TEST_F(Machine, MoreThreadsThanCoresLeaveTheMemoryAsItIs) {
  const int threads = ThreadPool::global().threads();
  ThreadPool::set_global_threads(usable_cores() + 5);
  const MachineProfile profile = current_profile();
  ThreadPool::set_global_threads(threads);
  EXPECT_EQ(profile.threads, usable_cores());
}

TEST_F(Machine, ThePeakIsTheMostEverReadAndOutlivesTheBandwidth) {
  const auto first = with_peak(measure_machine(1));
  EXPECT_GT(first.code_operations, 1e8);
  EXPECT_GT(first.float_operations, 1e8);
  const auto kept = load_machine_profile(1);
  ASSERT_TRUE(kept);
  EXPECT_DOUBLE_EQ(kept->code_operations, first.code_operations);
  EXPECT_GE(with_peak(*kept).float_operations, first.float_operations);
  MachineProfile swift = first;
  swift.float_operations *= 1000;  // as a reading never is
  EXPECT_DOUBLE_EQ(with_peak(swift).float_operations, swift.float_operations);
  EXPECT_GT(measure_machine(1).code_operations, 0);
}

}  // namespace
}  // namespace roofline
