#include "roofline/base/terminal.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <string>

namespace roofline {
namespace {

class Terminal : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* set = ::getenv("COLUMNS");
    before_ = set == nullptr ? "" : set;
  }
  void TearDown() override {
    before_.empty() ? ::unsetenv("COLUMNS")
                    : ::setenv("COLUMNS", before_.c_str(), 1);
  }

  /// Of something that is no terminal.
  static std::optional<int> columns_with(const char* set) {
    set == nullptr ? ::unsetenv("COLUMNS") : ::setenv("COLUMNS", set, 1);
    const int descriptor = ::open("/dev/null", O_WRONLY);
    const auto columns = terminal_columns(descriptor);
    ::close(descriptor);
    return columns;
  }

  std::string before_;
};

TEST_F(Terminal, WithoutOneTheEnvironmentSaysTheColumns) {
  EXPECT_EQ(columns_with("60"), 60);
  EXPECT_EQ(columns_with("3"), 20);
  for (const char* set : {"", "0", "-5", "60x", "99999999999"}) {
    EXPECT_EQ(columns_with(set), std::nullopt) << set;
  }
  EXPECT_EQ(columns_with(nullptr), std::nullopt);
}

TEST_F(Terminal, ATerminalSaysItItself) {
  const int master = ::posix_openpt(O_RDWR | O_NOCTTY);
  if (master < 0 || ::grantpt(master) != 0 || ::unlockpt(master) != 0) {
    GTEST_SKIP() << "there are no pseudo terminals here";
  }
  const int slave = ::open(::ptsname(master), O_RDWR | O_NOCTTY);
  ASSERT_GE(slave, 0);
  struct winsize size {};
  size.ws_col = 72;
  ASSERT_EQ(::ioctl(slave, TIOCSWINSZ, &size), 0);
  ::setenv("COLUMNS", "60", 1);
  EXPECT_EQ(terminal_columns(slave), 72);
  ::close(slave);
  ::close(master);
}

}  // namespace
}  // namespace roofline
