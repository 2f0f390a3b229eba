#include "roofline/weights/convert/mlx_source.h"

#include <algorithm>
#include <string>
#include <system_error>
#include <vector>

#include "roofline/spec/families.h"
#include "roofline/spec/language_config.h"
#include "roofline/spec/read_config.h"
#include "roofline/weights/checkpoint.h"
#include "roofline/weights/json_file.h"
#include "roofline/weights/text_files.h"

namespace roofline {

namespace fs = std::filesystem;

namespace {

/// The flag was wrong: there is a head of other values.
void untie(HfSource& source) {
  source.tied = false;
  source.config["tie_word_embeddings"] = false;
  language_config(source.config)["tie_word_embeddings"] = false;
}

/// mlx-lm reads the inner config alone, and takes mistral3's absent flag for
/// false.
void settle_text_config(HfSource& source) {
  nlohmann::json& text = language_config(source.config);
  if (&text == &source.config) {
    return;
  }
  if (source.tied) {
    text["tie_word_embeddings"] = true;
  }
  const auto vocab = source.config.find("vocab_size");
  if (vocab != source.config.end() && !text.contains("vocab_size")) {
    text["vocab_size"] = *vocab;
  }
}

bool is_known(const nlohmann::json& config) {
  const std::string type = config.value("model_type", std::string());
  const std::vector<std::string> known = known_families();
  return find_family(type) != nullptr ||
         (config.contains("text_config") &&
          std::find(known.begin(), known.end(), type) != known.end());
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
  if (!out.packed && is_known(out.config)) {
    // Names, shapes and what is missing: the reader says it best.
    const auto checkpoint = Checkpoint::open(path);
    if (out.tied && !checkpoint->spec().tied_embeddings) {
      untie(out);
    }
  }
  settle_text_config(out);
  return out;
}

bool keeps_own_dtype(std::string_view name) {
  for (std::string_view part :
       {"e_score_correction_bias", "expert_bias", "A_log"}) {
    if (name.find(part) != std::string_view::npos) {
      return true;
    }
  }
  return false;
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
