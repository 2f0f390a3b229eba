#include "roofline/weights/text_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <system_error>

#include "roofline/base/errors.h"
#include "roofline/base/paths.h"
#include "roofline/weights/json_file.h"
#include "roofline/weights/printable.h"

namespace roofline {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

[[noreturn]] void fail_template(const fs::path& path, const std::string& why) {
  fail<CheckpointError>(
      path.string() + " has no usable chat_template",
      why,
      "Repair the file or take it away");
}

/// A template as text, or as a list of {"name", "template"}.
std::string pick_template(const json& value, const fs::path& path) {
  if (value.is_string()) {
    return value.get<std::string>();
  }
  if (!value.is_array()) {
    fail_template(path, "It is neither a text nor a list");
  }
  std::string names;
  for (const json& entry : value) {
    if (!entry.is_object() || !entry.contains("name") ||
        !entry.contains("template") || !entry["name"].is_string() ||
        !entry["template"].is_string()) {
      fail_template(path, "Its list must hold names and templates");
    }
    if (entry["name"] == "default" || value.size() == 1) {
      return entry["template"].get<std::string>();
    }
    names += ' ';
    names += printable(entry["name"].get<std::string>());
  }
  fail_template(path, "None of its templates is named default, only:" + names);
}

std::optional<std::string> template_in(const fs::path& path) {
  if (!is_file(path)) {
    return std::nullopt;
  }
  const json config = read_json_file(path);
  const auto found =
      config.is_object() ? config.find("chat_template") : config.end();
  if (found == config.end() || found->is_null()) {
    return std::nullopt;
  }
  return pick_template(*found, path);
}

std::optional<std::int32_t> token_at(const GgufFile& file, const char* key) {
  const auto found = file.metadata().find(key);
  if (found == file.metadata().end() || !found->is_number_integer() ||
      *found < 0 || *found > INT32_MAX) {
    return std::nullopt;  // absent, or -1: "none"
  }
  return found->get<std::int32_t>();
}

std::optional<bool> flag_at(const GgufFile& file, const char* key) {
  const auto found = file.metadata().find(key);
  if (found == file.metadata().end() || !found->is_boolean()) {
    return std::nullopt;
  }
  return found->get<bool>();
}

std::string text_at(const GgufFile& file, const char* key) {
  const auto found = file.metadata().find(key);
  if (found == file.metadata().end() || !found->is_string()) {
    return "";
  }
  return found->get<std::string>();
}

}  // namespace

std::unique_ptr<Tokenizer> folder_tokenizer(const fs::path& folder) {
  if (is_file(folder / "tokenizer.json")) {
    return Tokenizer::from_json_file(folder / "tokenizer.json");
  }
  if (is_file(folder / "tokenizer.model")) {
    return Tokenizer::from_sentencepiece_file(folder / "tokenizer.model");
  }
  fail<CheckpointError>(
      folder.string() + " has no tokenizer",
      "Neither tokenizer.json nor tokenizer.model is there",
      "Copy the tokenizer's files of the same model into the folder");
}

std::optional<std::string> folder_chat_template(const fs::path& folder) {
  if (is_file(folder / "chat_template.jinja")) {
    return read_text_file(folder / "chat_template.jinja", 1 << 24);
  }
  if (auto found = template_in(folder / "chat_template.json")) {
    return found;
  }
  return template_in(folder / "tokenizer_config.json");
}

VocabularySpec gguf_vocabulary(const GgufFile& file) {
  VocabularySpec out;
  out.model = text_at(file, "tokenizer.ggml.model");
  out.pre = text_at(file, "tokenizer.ggml.pre");
  const auto tokens = file.strings("tokenizer.ggml.tokens");
  out.tokens.assign(tokens.begin(), tokens.end());
  if (out.model.empty() || out.tokens.empty()) {
    fail<CheckpointError>(
        file.label() + " has no vocabulary",
        "tokenizer.ggml.model or tokenizer.ggml.tokens is missing",
        "Take a GGUF file that was made with its tokenizer");
  }
  out.scores = file.floats("tokenizer.ggml.scores");
  out.types = file.integers("tokenizer.ggml.token_type");
  const auto merges = file.strings("tokenizer.ggml.merges");
  out.merges.assign(merges.begin(), merges.end());
  const std::size_t count = out.tokens.size();
  if ((!out.scores.empty() && out.scores.size() != count) ||
      (!out.types.empty() && out.types.size() != count)) {
    fail<CheckpointError>(
        file.label() + " has a broken vocabulary",
        fmt::format(
            "It has {} tokens, {} scores and {} token types",
            count,
            out.scores.size(),
            out.types.size()),
        "Download or copy the file again");
  }
  out.bos = token_at(file, "tokenizer.ggml.bos_token_id");
  out.eos = token_at(file, "tokenizer.ggml.eos_token_id");
  out.unknown = token_at(file, "tokenizer.ggml.unknown_token_id");
  out.padding = token_at(file, "tokenizer.ggml.padding_token_id");
  out.add_bos = flag_at(file, "tokenizer.ggml.add_bos_token");
  out.add_eos = flag_at(file, "tokenizer.ggml.add_eos_token");
  out.add_space_prefix = flag_at(file, "tokenizer.ggml.add_space_prefix");
  return out;
}

std::optional<std::string> gguf_chat_template(const GgufFile& file) {
  std::string text = text_at(file, "tokenizer.chat_template");
  if (text.empty()) {
    return std::nullopt;
  }
  return text;
}

fs::path only_gguf_in(const fs::path& folder) {
  std::vector<fs::path> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (entry.path().extension() == ".gguf" && is_file(entry.path())) {
      found.push_back(entry.path());
    }
  }
  if (found.size() > 1) {
    std::sort(found.begin(), found.end());
    fail<UserError>(
        folder.string() + " holds several models",
        fmt::format(
            "It has {} GGUF files, among them {} and {}",
            found.size(),
            found[0].filename().string(),
            found[1].filename().string()),
        "Name one of the files");
  }
  return found.empty() ? fs::path() : found[0];
}

}  // namespace roofline
