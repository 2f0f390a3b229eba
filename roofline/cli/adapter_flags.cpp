#include "roofline/cli/adapter_flags.h"

#include <cmath>
#include <cstdlib>
#include <filesystem>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "roofline/base/errors.h"

namespace roofline::cli {

void AdapterFlags::declare(CLI::App& app) {
  app.add_option(
         "--adapter",
         adapters,
         "Add what training wrote to a folder, weighed: FOLDER=0.5. Can be "
         "given several times.")
      ->type_name("FOLDER[=WEIGHT]")
      ->allow_extra_args(false)
      ->group("Weights");
}

std::vector<AdapterChoice> AdapterFlags::resolve() const {
  std::vector<AdapterChoice> choices;
  for (const std::string& text : adapters) {
    AdapterChoice choice{text, 1.0f};
    const std::size_t equals = text.rfind('=');
    if (equals != std::string::npos && !std::filesystem::exists(text)) {
      const std::string weight = text.substr(equals + 1);
      char* end = nullptr;
      choice.path = text.substr(0, equals);
      choice.weight = std::strtof(weight.c_str(), &end);
      if (weight.empty() || *end != '\0' || !std::isfinite(choice.weight)) {
        fail<UserError>(
            fmt::format("--adapter can't have the weight \"{}\"", weight),
            "",
            "It takes a folder, and a number after it, as in adapter=0.5");
      }
    }
    choices.push_back(std::move(choice));
  }
  return choices;
}

}  // namespace roofline::cli
