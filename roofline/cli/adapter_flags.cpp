#include "roofline/cli/adapter_flags.h"

#include <filesystem>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/base/option_values.h"
#include "roofline/cli/app.h"

namespace roofline::cli {

void AdapterFlags::declare(App& app) {
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
      choice.path = text.substr(0, equals);
      const auto number = parse_number<float>(weight);
      if (!number) {
        fail<UserError>(
            fmt::format("--adapter can't have the weight \"{}\"", weight),
            "",
            "It takes a folder, and a number after it, as in adapter=0.5");
      }
      choice.weight = *number;
    }
    choices.push_back(std::move(choice));
  }
  return choices;
}

}  // namespace roofline::cli
