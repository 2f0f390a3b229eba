#include "roofline/weights/convert/tokenizer_to_gguf.h"

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <system_error>
#include <unordered_map>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/text/scored_vocabulary.h"
#include "roofline/text/tokenizer.h"
#include "roofline/weights/convert/pre_tokenizer_like.h"
#include "roofline/weights/json_file.h"
#include "roofline/weights/text_files.h"

namespace roofline {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

struct Token {
  std::string text;
  TokenKind kind = TokenKind::normal;
};

[[noreturn]] void fail_form(const fs::path& folder, const std::string& why) {
  fail<UnsupportedError>(
      fmt::format("The tokenizer of {} has no form in GGUF", folder.string()),
      why,
      "Convert the model to MLX layout instead (--mlx-path)");
}

[[noreturn]] void fail_broken(const fs::path& folder, const std::string& why) {
  fail<CheckpointError>(
      (folder / "tokenizer.json").string() + " can't be right",
      why,
      "Download or copy the file again");
}

/// Whether a value of this "type" stands anywhere inside.
bool has_step(const json& step, std::string_view type) {
  if (step.is_object() && step.value("type", "") == type) {
    return true;
  }
  return step.is_structured() &&
         std::any_of(step.begin(), step.end(), [&](const json& inner) {
           return has_step(inner, type);
         });
}

class TokenizerFile {
 public:
  TokenizerFile(const fs::path& folder, std::int64_t vocab)
      : folder_(folder),
        root_(read_json_file(folder / "tokenizer.json")),
        tokens_(static_cast<std::size_t>(vocab)) {
    if (!root_.is_object() || !root_.contains("model") ||
        !root_["model"].is_object()) {
      fail_broken(folder_, "It has no \"model\"");
    }
    const std::string type = model().value("type", "BPE");
    if (type != "BPE") {
      fail_form(folder_, fmt::format("It is {}, not byte pairs", type));
    }
    byte_level_ = has_step(root_.value("pre_tokenizer", json()), "ByteLevel") ||
                  has_step(root_.value("decoder", json()), "ByteLevel");
    if (!byte_level_ && !model().value("byte_fallback", false)) {
      fail_form(folder_, "Its byte pairs are neither GPT-2's nor Llama's");
    }
    read_tokens();
    read_merges();
  }

  bool byte_level() const { return byte_level_; }

  VocabularySpec spec() const {
    VocabularySpec out;
    out.model = byte_level_ ? "gpt2" : "llama";
    for (const Token& token : tokens_) {
      out.tokens.push_back(token.text);
      out.types.push_back(static_cast<std::int32_t>(token.kind));
    }
    if (byte_level_) {
      for (const auto& [left, right] : merges_) {
        out.merges.push_back(left + " " + right);
      }
    } else {
      out.scores = scores();
      out.add_space_prefix = adds_space();
    }
    const json unknown = model().value("unk_token", json());
    if (unknown.is_string()) {
      out.unknown = id_of(unknown.get<std::string>());
    }
    return out;
  }

  std::optional<std::int32_t> id_of(const std::string& text) const {
    const auto found = ids_.find(text);
    return found == ids_.end() ? std::nullopt : std::optional(found->second);
  }

 private:
  const json& model() const { return root_["model"]; }

  void place(std::int64_t id, const std::string& text, TokenKind kind) {
    if (id < 0 || id >= static_cast<std::int64_t>(tokens_.size())) {
      fail_broken(
          folder_,
          fmt::format(
              "Token {} has the id {}, and the model's vocabulary has {}",
              text.substr(0, 40),
              id,
              tokens_.size()));
    }
    tokens_[static_cast<std::size_t>(id)] = {text, kind};
    ids_[text] = static_cast<std::int32_t>(id);
  }

  void read_tokens() {
    // Ids that nothing names: rows of the embedding that fill it up.
    for (std::size_t i = 0; i < tokens_.size(); ++i) {
      tokens_[i] = {fmt::format("[PAD{}]", i), TokenKind::unused};
    }
    const json vocab = model().value("vocab", json());
    if (!vocab.is_object()) {
      fail_broken(folder_, "Its model has no \"vocab\"");
    }
    for (const auto& [text, id] : vocab.items()) {
      if (!id.is_number_integer()) {
        fail_broken(folder_, "An id of its vocabulary is no number");
      }
      place(id.get<std::int64_t>(), text, kind_of(text));
    }
    for (const json& token : root_.value("added_tokens", json::array())) {
      if (!token.is_object() || !token.contains("id") ||
          !token.contains("content") || !token["id"].is_number_integer() ||
          !token["content"].is_string()) {
        fail_broken(folder_, "One of its added tokens has no id or content");
      }
      const std::string text = token["content"];
      const bool unknown =
          !byte_level_ && text == model().value("unk_token", json(""));
      place(
          token["id"].get<std::int64_t>(),
          text,
          unknown                        ? TokenKind::unknown
          : token.value("special", true) ? TokenKind::control
                                         : TokenKind::user_defined);
    }
  }

  /// "<0x0A>" is a byte in Llama's vocabularies.
  TokenKind kind_of(const std::string& text) const {
    const bool byte = !byte_level_ && text.size() == 6 &&
                      text.starts_with("<0x") && text.back() == '>';
    return byte ? TokenKind::byte : TokenKind::normal;
  }

  void read_merges() {
    for (const json& merge : model().value("merges", json::array())) {
      if (merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
          merge[1].is_string()) {
        merges_.emplace_back(merge[0], merge[1]);
        continue;
      }
      const std::string text =
          merge.is_string() ? merge.get<std::string>() : std::string();
      const std::size_t space = text.find(' ', 1);
      if (space == std::string::npos) {
        fail_broken(folder_, "One of its merges isn't a pair");
      }
      merges_.emplace_back(text.substr(0, space), text.substr(space + 1));
    }
  }

  /// SentencePiece merges the pair whose token has the highest score: the
  /// merges' order says the same.
  std::vector<float> scores() const {
    std::vector<float> out(
        tokens_.size(),
        -static_cast<float>(merges_.size() + 1));
    for (std::size_t rank = merges_.size(); rank-- > 0;) {
      const auto id = id_of(merges_[rank].first + merges_[rank].second);
      if (id) {
        out[static_cast<std::size_t>(*id)] = -static_cast<float>(rank);
      }
    }
    for (std::size_t i = 0; i < tokens_.size(); ++i) {
      if (tokens_[i].kind != TokenKind::normal) {
        out[i] = 0;
      }
    }
    return out;
  }

  bool adds_space() const {
    const json normalizer = root_.value("normalizer", json());
    const json pre = root_.value("pre_tokenizer", json());
    if (has_step(normalizer, "Prepend")) {
      return true;
    }
    if (!has_step(pre, "Metaspace")) {
      return false;
    }
    const std::string scheme = pre.value("prepend_scheme", "always");
    return scheme != "never" && pre.value("add_prefix_space", true);
  }

  fs::path folder_;
  json root_;
  std::vector<Token> tokens_;
  std::unordered_map<std::string, std::int32_t> ids_;
  std::vector<std::pair<std::string, std::string>> merges_;
  bool byte_level_ = false;
};

/// Of a vocabulary with scores: the same check.
void check_scores(
    const VocabularySpec& spec,
    const Tokenizer& wanted,
    const fs::path& folder) {
  const std::string_view probe = tokenizer_probe();
  if (Tokenizer::from_vocabulary(spec)->encode(probe, Specials::none) !=
      wanted.encode(probe, Specials::none)) {
    fail_form(folder, "With scores in place of merges it gives other ids");
  }
}

/// A token that config.json or tokenizer_config.json names.
std::optional<std::int32_t> named_token(
    const fs::path& folder,
    const char* name,
    const Tokenizer& tokenizer) {
  for (const char* file :
       {"tokenizer_config.json", "special_tokens_map.json"}) {
    std::error_code error;
    if (!fs::is_regular_file(folder / file, error)) {
      continue;
    }
    json token = read_json_file(folder / file).value(name, json());
    if (token.is_object()) {
      token = token.value("content", json());
    }
    if (token.is_string()) {
      if (const auto id = tokenizer.token_id(token.get<std::string>())) {
        return id;
      }
    }
  }
  return std::nullopt;
}

void add_ids(
    GgufMetadata& out,
    const fs::path& folder,
    const VocabularySpec& spec,
    const Tokenizer& tokenizer) {
  const auto add = [&](const char* name, std::optional<std::int32_t> id) {
    if (id) {
      out.emplace_back(
          fmt::format("tokenizer.ggml.{}_token_id", name),
          static_cast<std::uint32_t>(*id));
    }
  };
  add("bos", tokenizer.bos);
  add("eos", tokenizer.eos);
  add("unknown", spec.unknown);
  add("padding", named_token(folder, "pad_token", tokenizer));
  const auto framed = tokenizer.encode("a", Specials::add);
  const bool add_bos =
      tokenizer.bos && !framed.empty() && framed.front() == *tokenizer.bos;
  const bool add_eos =
      tokenizer.eos && !framed.empty() && framed.back() == *tokenizer.eos;
  out.emplace_back("tokenizer.ggml.add_bos_token", add_bos);
  out.emplace_back("tokenizer.ggml.add_eos_token", add_eos);
}

}  // namespace

GgufMetadata gguf_vocabulary_of(const fs::path& folder, std::int64_t vocab) {
  const std::unique_ptr<Tokenizer> tokenizer = folder_tokenizer(folder);
  std::error_code error;
  if (!fs::is_regular_file(folder / "tokenizer.json", error)) {
    fail_form(folder, "It is a tokenizer.model; a tokenizer.json is needed");
  }
  const TokenizerFile file(folder, vocab);
  VocabularySpec spec = file.spec();
  if (file.byte_level()) {
    const auto pre = pre_tokenizer_like(*tokenizer, spec);
    if (!pre) {
      fail_form(folder, "No pre-tokenizer of llama.cpp gives its ids");
    }
    spec.pre = *pre;
    spec.add_bos = false;
  } else {
    spec.pre = "default";
    check_scores(spec, *tokenizer, folder);
  }
  GgufMetadata out = {
      {"tokenizer.ggml.model", spec.model},
      {"tokenizer.ggml.pre", spec.pre},
      {"tokenizer.ggml.tokens", spec.tokens},
      {"tokenizer.ggml.token_type", spec.types}};
  if (!spec.scores.empty()) {
    out.emplace_back("tokenizer.ggml.scores", spec.scores);
  }
  if (!spec.merges.empty()) {
    out.emplace_back("tokenizer.ggml.merges", spec.merges);
  }
  if (spec.add_space_prefix) {
    out.emplace_back("tokenizer.ggml.add_space_prefix", *spec.add_space_prefix);
  }
  add_ids(out, folder, spec, *tokenizer);
  if (const auto chat = folder_chat_template(folder)) {
    out.emplace_back("tokenizer.chat_template", *chat);
  }
  return out;
}

}  // namespace roofline
