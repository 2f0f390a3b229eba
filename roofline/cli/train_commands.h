// The commands of training, for the table in app.cpp.
#pragma once

#include <memory>

#include "roofline/cli/command.h"

namespace roofline::cli {

std::unique_ptr<Command> make_train();
std::unique_ptr<Command> make_fuse();

}  // namespace roofline::cli
