// --adapter: what training wrote, added to a model's weights.
#pragma once

#include <string>
#include <vector>

#include "roofline/model/adapter.h"

namespace roofline::cli {

class App;

struct AdapterFlags {
  std::vector<std::string> adapters;

  void declare(App& app);
  /// "FOLDER" or "FOLDER=0.5" each. Throws UserError.
  std::vector<AdapterChoice> resolve() const;
};

}  // namespace roofline::cli
