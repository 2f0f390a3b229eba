#include <CLI/CLI.hpp>

#include "roofline/cli/command.h"

namespace roofline::cli {

namespace {

class Optimize : public Command {
 public:
  void declare(CLI::App&) override {}
  int run() override { return kUserMistake; }
};

}  // namespace

std::unique_ptr<Command> make_optimize() {
  return std::make_unique<Optimize>();
}

}  // namespace roofline::cli
