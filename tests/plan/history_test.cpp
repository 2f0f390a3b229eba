#include "roofline/plan/history.h"

#include <cstdlib>
#include <fstream>
#include <thread>

#include <gtest/gtest.h>
#include <sqlite3.h>

namespace roofline {
namespace {

namespace fs = std::filesystem;

class History : public testing::Test {
 protected:
  void SetUp() override {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::path(testing::TempDir()) /
              ("roofline_history_" + std::string(test->name()));
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    setenv("ROOFLINE_CACHE", folder_.c_str(), 1);
    unsetenv("ROOFLINE_HISTORY");
  }
  void TearDown() override {
    unsetenv("ROOFLINE_CACHE");
    unsetenv("ROOFLINE_HISTORY");
    fs::remove_all(folder_);
  }
  static RunRecord record(std::int64_t peak) {
    RunRecord run;
    run.model = "a 'model'";
    run.threads = 3;
    run.measured_peak_bytes = peak;
    run.measured_prefill = 2.5;
    return run;
  }
  fs::path folder_;
};

TEST_F(History, GivesBackWhatWasKeptNewestFirst) {
  EXPECT_TRUE(keep_run(record(1)));
  EXPECT_TRUE(keep_run(record(2)));
  const auto runs = kept_runs(10);
  ASSERT_EQ(runs.size(), 2U);
  EXPECT_EQ(runs[0].measured_peak_bytes, 2);
  EXPECT_EQ(runs[1].measured_peak_bytes, 1);
  EXPECT_EQ(runs[0].model, "a 'model'");
  EXPECT_EQ(runs[0].threads, 3);
  EXPECT_EQ(runs[0].measured_prefill, 2.5);
  EXPECT_EQ(kept_runs(1).size(), 1U);
}

TEST_F(History, SetsABrokenFileAside) {
  std::ofstream(history_path()) << std::string(5000, 'x');
  EXPECT_TRUE(kept_runs(1).empty());
  EXPECT_TRUE(keep_run(record(1)));
  EXPECT_EQ(kept_runs(10).size(), 1U);
  EXPECT_TRUE(fs::exists(folder_ / "history.db.broken"));
}

TEST_F(History, GoesOnWithADatabaseOfTheFirstVersion) {
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open(history_path().c_str(), &db), SQLITE_OK);
  const char* first =
      "CREATE TABLE runs(id INTEGER PRIMARY KEY, unix_seconds INTEGER, version "
      "TEXT, host TEXT, processor TEXT, device TEXT, isa TEXT, threads "
      "INTEGER, "
      "model TEXT, model_key TEXT, quant TEXT, prompt_tokens INTEGER, "
      "cached_tokens INTEGER, generated_tokens INTEGER, predicted_peak_bytes "
      "INTEGER, assumed_runtime_bytes INTEGER, measured_peak_bytes INTEGER, "
      "decode_roof REAL, predicted_decode REAL, measured_decode REAL, "
      "measured_prefill REAL);"
      "INSERT INTO runs(model, assumed_runtime_bytes, measured_prefill) VALUES("
      "'old', 48000000, 7);"
      "PRAGMA user_version=1;";
  ASSERT_EQ(sqlite3_exec(db, first, nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(db);
  RunRecord run = record(1);
  run.predicted_prefill = 9;
  run.waited_share = 0.25;
  EXPECT_TRUE(keep_run(run));
  const auto runs = kept_runs(10);
  ASSERT_EQ(runs.size(), 2U);
  EXPECT_EQ(runs[0].predicted_prefill, 9);
  EXPECT_EQ(runs[1].model, "old");
  EXPECT_EQ(runs[1].measured_prefill, 7);
  EXPECT_EQ(runs[1].predicted_prefill, 0);
  EXPECT_EQ(runs[0].waited_share, 0.25);
  EXPECT_EQ(runs[1].waited_share, 0);
}

TEST_F(History, KeepsNothingWhenOffOrWhenItCannot) {
  setenv("ROOFLINE_HISTORY", "off", 1);
  EXPECT_FALSE(keep_run(record(1)));
  EXPECT_FALSE(fs::exists(history_path()));
  unsetenv("ROOFLINE_HISTORY");
  fs::create_directories(history_path());
  EXPECT_FALSE(keep_run(record(1)));
  EXPECT_TRUE(kept_runs(1).empty());
}

TEST_F(History, TakesRowsFromManyAtOnce) {
  std::vector<std::thread> writers;
  for (int i = 0; i < 4; ++i) {
    writers.emplace_back([] {
      for (int k = 0; k < 5; ++k) {
        keep_run(record(k));
      }
    });
  }
  for (std::thread& writer : writers) {
    writer.join();
  }
  EXPECT_EQ(kept_runs(100).size(), 20U);
}

RunRecord pair(std::int64_t predicted, std::int64_t measured) {
  RunRecord run;
  run.host = std::string("here");
  run.version = std::string("1.0");
  run.device = "CPU, avx2, 2 threads";
  run.assumed_runtime_bytes =
      static_cast<std::int64_t>(default_memory_constants().runtime_bytes);
  run.predicted_peak_bytes = predicted;
  run.measured_peak_bytes = measured;
  return run;
}

TEST(Calibrate, MovesTheProgramsMemoryByTheMedianError) {
  const std::int64_t mega = 1'000'000;
  std::vector<RunRecord> runs;
  for (const std::int64_t error : {5, 7, 9, 200, 6}) {
    runs.push_back(pair(100 * mega, (100 + error) * mega));
  }
  const auto found = calibrate(runs, "here", "1.0");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->runs, 5);
  EXPECT_EQ(
      found->constants.runtime_bytes,
      default_memory_constants().runtime_bytes + 7 * mega);
  EXPECT_FALSE(calibrate(runs, "elsewhere", "1.0"));
  EXPECT_FALSE(calibrate(runs, "here", "2.0"));
  runs[0].device = "a GPU";
  EXPECT_FALSE(calibrate(runs, "here", "1.0"));
}

TEST(Calibrate, CountsFromWhatWasAssumedWhenItWasPredicted) {
  const std::int64_t mega = 1'000'000;
  std::vector<RunRecord> runs(5, pair(100 * mega, 103 * mega));
  for (RunRecord& run : runs) {
    run.assumed_runtime_bytes = 50 * mega;  // calibrated before
  }
  const auto found = calibrate(runs, "here", "1.0");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->constants.runtime_bytes, 53'000'000u);
}

TEST(Calibrate, TakesAModelsOwnSharesWhereEnoughAreKept) {
  std::vector<RunRecord> runs(12, pair(100'000'000, 100'000'000));
  for (std::size_t i = 0; i < runs.size(); ++i) {
    runs[i].model = i < 5 ? "small" : "large";
    runs[i].prompt_tokens = 64;
    runs[i].prefill_roof = 1000;
    runs[i].measured_prefill = i < 5 ? 200 : 600;
  }
  runs[6].prompt_tokens = 63;  // mostly overhead
  runs[6].measured_prefill = 1;
  EXPECT_DOUBLE_EQ(
      *calibrate(runs, "here", "1.0", "small")->prefill_efficiency,
      0.2);
  EXPECT_DOUBLE_EQ(
      *calibrate(runs, "here", "1.0", "large")->prefill_efficiency,
      0.6);
  EXPECT_DOUBLE_EQ(
      *calibrate(runs, "here", "1.0", "other")->prefill_efficiency,
      0.6);
  MachineRates rates;
  calibrate(runs, "here", "1.0", "small")->apply(rates);
  EXPECT_DOUBLE_EQ(rates.prefill_efficiency, 0.2);
  EXPECT_DOUBLE_EQ(rates.decode_efficiency, MachineRates().decode_efficiency);
}

TEST(Calibrate, TakesTheMedianShareOfTheRoofOfLongAnswers) {
  std::vector<RunRecord> runs(6, pair(100'000'000, 100'000'000));
  for (std::size_t i = 0; i < runs.size(); ++i) {
    runs[i].decode_roof = 100;
    runs[i].measured_decode = 40 + 10 * static_cast<double>(i % 3);
    runs[i].generated_tokens = 16;
  }
  runs[5].measured_decode = 0;  // not known
  ASSERT_TRUE(calibrate(runs, "here", "1.0")->decode_efficiency);
  EXPECT_DOUBLE_EQ(*calibrate(runs, "here", "1.0")->decode_efficiency, 0.5);
  runs[0].generated_tokens = 15;
  EXPECT_FALSE(calibrate(runs, "here", "1.0")->decode_efficiency);
}

TEST(Calibrate, LeavesOutRunsThatNeighboursDisturbedWhereOthersAreEnough) {
  std::vector<RunRecord> runs(10, pair(100'000'000, 100'000'000));
  for (std::size_t i = 0; i < runs.size(); ++i) {
    runs[i].decode_roof = 100;
    runs[i].generated_tokens = 16;
    runs[i].measured_decode = i < 5 ? 80 : 10;
    runs[i].waited_share = i < 5 ? 0.02 : 0.6;
    // This model's own runs are the disturbed ones.
    runs[i].model = i < 5 ? "other" : "own";
  }
  EXPECT_DOUBLE_EQ(
      *calibrate(runs, "here", "1.0", "own")->decode_efficiency,
      0.8);
  runs[0].waited_share = 0.6;
  EXPECT_DOUBLE_EQ(
      *calibrate(runs, "here", "1.0", "own")->decode_efficiency,
      0.1);
}

TEST(Calibrate, StaysWithinBounds) {
  const std::vector<RunRecord> less(5, pair(4'000'000'000, 1'000'000));
  const std::vector<RunRecord> more(5, pair(1'000'000, 4'000'000'000));
  EXPECT_EQ(calibrate(less, "here", "1.0")->constants.runtime_bytes, 0u);
  EXPECT_EQ(
      calibrate(more, "here", "1.0")->constants.runtime_bytes,
      512'000'000u);
}

}  // namespace
}  // namespace roofline
