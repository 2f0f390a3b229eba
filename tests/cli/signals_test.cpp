#include "roofline/cli/signals.h"

#include <fcntl.h>
#include <unistd.h>

#include <gtest/gtest.h>

namespace roofline::cli {
namespace {

/// Closes all three, occupies them, and opens a file: its number.
int number_of_the_next_file() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    ::close(fd);
  }
  occupy_standard_descriptors();
  char byte = 'x';
  const bool silent = ::write(STDOUT_FILENO, &byte, 1) < 0 &&
                      ::write(STDERR_FILENO, &byte, 1) < 0 &&
                      ::read(STDIN_FILENO, &byte, 1) < 0;
  return silent ? ::open("/dev/null", O_RDWR) : 0;
}

TEST(StandardDescriptors, NoFileGetsTheNumberOfOneThatIsClosed) {
  EXPECT_EXIT(
      ::_exit(number_of_the_next_file() > STDERR_FILENO ? 7 : 1),
      testing::ExitedWithCode(7),
      "");
}

TEST(StandardDescriptors, AnOpenOneStaysAsItIs) {
  EXPECT_EXIT(
      {
        occupy_standard_descriptors();
        const char text[] = "heard";
        ::_exit(::write(STDERR_FILENO, text, 5) == 5 ? 7 : 1);
      },
      testing::ExitedWithCode(7),
      "heard");
}

}  // namespace
}  // namespace roofline::cli
