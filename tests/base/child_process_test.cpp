#include "roofline/base/child_process.h"

#include <csignal>

#include <gtest/gtest.h>

#include "roofline/base/errors.h"

namespace roofline {
namespace {

TEST(ChildProcess, LinesGoInAndComeOut) {
  ChildProcess child({"cat"});
  EXPECT_TRUE(child.write_line("one"));
  EXPECT_EQ(child.read_line(), "one");
  EXPECT_TRUE(child.write_line("two"));
  EXPECT_EQ(child.read_line(), "two");
  EXPECT_EQ(child.wait(), 0);
  EXPECT_EQ(child.read_line(), std::nullopt);
}

TEST(ChildProcess, TheStatusIsItsOwn) {
  EXPECT_EQ(run_command({"sh", "-c", "echo out; exit 7"}).status, 7);
  EXPECT_EQ(run_command({"sh", "-c", "echo out; exit 7"}).text, "out\n");
  EXPECT_EQ(run_command({"sh", "-c", "kill -TERM $$"}).status, 128 + SIGTERM);
}

TEST(ChildProcess, OneThatIsLeftBehindIsEnded) {
  const ChildProcess child({"sleep", "1000"});
}

TEST(ChildProcess, WritingToOneThatIsGoneFails) {
  const auto before = std::signal(SIGPIPE, SIG_IGN);
  ChildProcess child({"true"});
  EXPECT_EQ(child.read_line(), std::nullopt);
  while (child.write_line("anyone there?")) {
  }
  EXPECT_EQ(child.wait(), 0);
  std::signal(SIGPIPE, before);
}

TEST(ChildProcess, AProgramThatIsNotThereIsTheUsersError) {
  EXPECT_THROW(run_command({"no-such-program-at-all"}), UserError);
  EXPECT_EQ(find_program("no-such-program-at-all"), "");
  EXPECT_NE(find_program("sh"), "");
}

}  // namespace
}  // namespace roofline
