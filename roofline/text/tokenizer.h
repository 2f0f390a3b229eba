// Text to token ids and back, over the `tokenizers` crate. Built from a
// tokenizer.json, a SentencePiece tokenizer.model, or a GGUF vocabulary.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace roofline {

/// The vocabulary that a GGUF file carries, as plain data.
struct VocabularySpec {
  std::string model;  ///< tokenizer.ggml.model: "gpt2", "llama", …
  std::string pre;    ///< tokenizer.ggml.pre: which pre-tokenizer
  std::vector<std::string> tokens;
  std::vector<float> scores;        ///< empty, or one a token
  std::vector<std::int32_t> types;  ///< empty, or GGML's kind of each token
  std::vector<std::string> merges;  ///< "left right", in order of rank
  std::optional<std::int32_t> bos, eos, unknown, padding;
  std::optional<bool> add_bos, add_eos, add_space_prefix;
};

enum class Specials { add, none };

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  static std::unique_ptr<Tokenizer> from_json_file(
      const std::filesystem::path& tokenizer_json);
  static std::unique_ptr<Tokenizer> from_sentencepiece_file(
      const std::filesystem::path& tokenizer_model);
  static std::unique_ptr<Tokenizer> from_vocabulary(const VocabularySpec& spec);

  /// UTF-8 text to ids. Specials::add puts the model's own begin and end
  /// tokens around it. Special tokens written in the text are recognised.
  /// Throws UserError when text is not UTF-8 (with the byte offset).
  virtual std::vector<std::int32_t> encode(
      std::string_view text,
      Specials specials) const = 0;

  /// Ids to text; special tokens are left out unless `keep_specials`.
  virtual std::string decode(
      std::span<const std::int32_t> ids,
      bool keep_specials = false) const = 0;

  virtual std::int32_t vocab_size() const = 0;
  /// The id of a token by its exact text, e.g. "<|im_end|>".
  virtual std::optional<std::int32_t> token_id(
      std::string_view token) const = 0;
  virtual std::string token_text(std::int32_t id) const = 0;

  std::optional<std::int32_t> bos, eos;
  std::string bos_text, eos_text;  ///< for templates; empty when absent
};

/// Turns a growing list of ids into text that never ends inside a UTF-8
/// character; the pieces joined equal decode() of all ids.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer);
  ~StreamDecoder();
  StreamDecoder(StreamDecoder&&) noexcept;

  /// The text that this token completes; may be empty.
  std::string push(std::int32_t id);
  /// What is still held back at the end (incomplete bytes become U+FFFD).
  std::string flush();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace roofline
