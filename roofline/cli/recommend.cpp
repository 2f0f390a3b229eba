#include <CLI/CLI.hpp>

#include "roofline/cli/command.h"

namespace roofline::cli {

namespace {

class Recommend : public Command {
 public:
  void declare(CLI::App&) override {}
  int run() override { return kUserMistake; }
};

}  // namespace

std::unique_ptr<Command> make_recommend() {
  return std::make_unique<Recommend>();
}

}  // namespace roofline::cli
