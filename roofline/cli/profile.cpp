#include <CLI/CLI.hpp>

#include "roofline/cli/command.h"

namespace roofline::cli {

namespace {

class Profile : public Command {
 public:
  void declare(CLI::App&) override {}
  int run() override { return kUserMistake; }
};

}  // namespace

std::unique_ptr<Command> make_profile() {
  return std::make_unique<Profile>();
}

}  // namespace roofline::cli
