#include <CLI/CLI.hpp>

#include "roofline/cli/command.h"

namespace roofline::cli {

namespace {

class Memory : public Command {
 public:
  void declare(CLI::App&) override {}
  int run() override { return kUserMistake; }
};

}  // namespace

std::unique_ptr<Command> make_memory() {
  return std::make_unique<Memory>();
}

}  // namespace roofline::cli
