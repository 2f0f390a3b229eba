#include <CLI/CLI.hpp>

#include "roofline/cli/command.h"

namespace roofline::cli {

namespace {

class Doctor : public Command {
 public:
  void declare(CLI::App&) override {}
  int run() override { return kUserMistake; }
};

}  // namespace

std::unique_ptr<Command> make_doctor() {
  return std::make_unique<Doctor>();
}

}  // namespace roofline::cli
