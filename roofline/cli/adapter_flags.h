// --adapter: what training wrote, added to a model's weights.
#pragma once

#include <string>
#include <vector>

#include "roofline/model/adapter.h"

namespace CLI {
class App;
}  // namespace CLI

namespace roofline::cli {

struct AdapterFlags {
  std::vector<std::string> adapters;

  void declare(CLI::App& app);
  /// "FOLDER" or "FOLDER=0.5" each. Throws UserError.
  std::vector<AdapterChoice> resolve() const;
};

}  // namespace roofline::cli
