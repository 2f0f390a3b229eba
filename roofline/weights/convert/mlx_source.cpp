#include "roofline/weights/convert/mlx_source.h"

#include <system_error>

#include "roofline/spec/families.h"
#include "roofline/weights/checkpoint.h"
#include "roofline/weights/json_file.h"
#include "roofline/weights/text_files.h"

namespace roofline {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

/// Repeats what "rope_parameters" says under the names of before, which are
/// all that mlx-lm reads for some families.
void add_old_rope_names(json& config) {
  if (config.contains("text_config") && config["text_config"].is_object()) {
    add_old_rope_names(config["text_config"]);
  }
  json rope = config.value("rope_parameters", json());
  if (!rope.is_object()) {
    return;
  }
  const json sliding = rope.value("sliding_attention", json());
  rope = rope.value("full_attention", rope);
  const auto add = [&](const char* name, const json& from, const char* key) {
    if (from.is_object() && from.contains(key) && !config.contains(name)) {
      config[name] = from[key];
    }
  };
  add("rope_theta", rope, "rope_theta");
  if (config.value("model_type", "").starts_with("gemma3")) {
    add("rope_local_base_freq", sliding, "rope_theta");
  }
  add("partial_rotary_factor", rope, "partial_rotary_factor");
  const bool scaled =
      rope.is_object() && rope.value("rope_type", "default") != "default";
  if (scaled && !config.contains("rope_scaling")) {
    rope.erase("rope_theta");
    rope.erase("partial_rotary_factor");
    config["rope_scaling"] = rope;
  }
}

}  // namespace

fs::path model_file(const fs::path& given) {
  std::error_code error;
  if (!fs::is_directory(given, error) ||
      fs::is_regular_file(given / "config.json", error)) {
    return given;
  }
  const fs::path gguf = only_gguf_in(given);
  return gguf.empty() ? given : gguf;
}

HfSource open_hf_source(const fs::path& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) {
    return hf_gguf_source(path);
  }
  HfSource out = hf_folder_source(path);
  const std::string type = out.config.value("model_type", std::string());
  if (!out.packed && find_family(type) != nullptr) {
    // Names, shapes and what is missing: the reader says it best.
    Checkpoint::open(path);
  }
  return out;
}

bool keeps_own_dtype(std::string_view name) {
  for (std::string_view part : {"e_score_correction_bias", "A_log"}) {
    if (name.find(part) != std::string_view::npos) {
      return true;
    }
  }
  return false;
}

std::string mlx_config_text(json config) {
  add_old_rope_names(config);
  config.erase("_name_or_path");
  config.erase("vision_config");
  return config.dump(4) + "\n";
}

void write_files_beside(
    CheckpointWriter& writer,
    const HfSource& source,
    const std::string& card) {
  for (const fs::path& file : source.files) {
    writer.copy_file(file);
  }
  for (const auto& [name, text] : source.texts) {
    writer.write_text(name, text);
  }
  writer.write_text("README.md", card);
}

}  // namespace roofline
