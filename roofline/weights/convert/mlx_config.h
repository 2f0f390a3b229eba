// config.json as mlx-lm reads it: under the names it knows, with what it would
// take otherwise where a field is absent, and of the language model alone.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

namespace roofline {

/// config: Hugging Face's, in old or new style. Nothing that Roofline reads in
/// it changes its meaning.
nlohmann::json mlx_config(nlohmann::json config);

/// The same as the file's text.
std::string mlx_config_text(nlohmann::json config);

}  // namespace roofline
