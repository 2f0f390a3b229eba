#include "roofline/base/staged_folder.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "roofline/base/errors.h"
#include "weights/temp_folder.h"

namespace roofline {
namespace {

namespace fs = std::filesystem;
using namespace roofline::testing;

void put(const fs::path& path, const std::string& text) {
  std::ofstream(path) << text;
}

std::size_t entries_in(const fs::path& folder) {
  return static_cast<std::size_t>(
      std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

TEST(StagedFolder, NothingAppearsBeforeItIsPublished) {
  const TempFolder temp;
  const fs::path target = temp.path() / "a" / "model";
  StagedFolder stage(target);
  put(stage.path() / "x", "1");
  EXPECT_FALSE(fs::exists(target));
  stage.publish();
  EXPECT_EQ(read_file(target / "x"), "1");
}

TEST(StagedFolder, WhatIsNotPublishedIsRemoved) {
  const TempFolder temp;
  { put(StagedFolder(temp.path() / "model").path() / "x", "1"); }
  EXPECT_EQ(entries_in(temp.path()), 0u);
}

TEST(StagedFolder, AnOlderFolderGivesWayAsAWhole) {
  const TempFolder temp;
  temp.write("model/old", "0");
  {
    StagedFolder stage(temp.path() / "model/");  // the slash is no name
    put(stage.path() / "new", "1");
    stage.publish();
  }
  EXPECT_FALSE(fs::exists(temp.path() / "model" / "old"));
  EXPECT_EQ(read_file(temp.path() / "model" / "new"), "1");
  EXPECT_EQ(entries_in(temp.path()), 1u);
}

TEST(StagedFolder, WhatAKilledProcessLeftIsSweptByTheNext) {
  const TempFolder temp;
  const pid_t child = ::fork();
  if (child == 0) {
    StagedFolder stage(temp.path() / "model");
    put(stage.path() / "x", "half");
    ::kill(::getpid(), SIGKILL);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_FALSE(fs::exists(temp.path() / "model"));
  EXPECT_EQ(entries_in(temp.path()), 1u);
  const StagedFolder next(temp.path() / "model");
  EXPECT_EQ(entries_in(temp.path()), 1u);
  EXPECT_FALSE(fs::exists(next.path() / "x"));
}

TEST(StagedFolder, AStageInUseIsLeftAlone) {
  const TempFolder temp;
  const StagedFolder first(temp.path() / "model");
  const StagedFolder second(temp.path() / "model");
  EXPECT_TRUE(fs::exists(first.path()));
  EXPECT_NE(first.path(), second.path());
}

TEST(StagedFolder, APlaceThatCannotBeWrittenIsToldOf) {
  const TempFolder temp;
  const fs::path file = temp.write("file", "no folder");
  expect_error<UserError>(
      [&] { StagedFolder(file / "model"); },
      {"Can't write in", file.string()});
}

}  // namespace
}  // namespace roofline
