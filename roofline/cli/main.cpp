#include <string>
#include <vector>

#include "roofline/cli/command.h"

int main(int argc, char** argv) {
  return roofline::cli::run_program(
      std::vector<std::string>(argv + (argc > 0 ? 1 : 0), argv + argc));
}
