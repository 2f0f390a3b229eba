#include <bit>
#include <cstring>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "roofline/base/errors.h"
#include "roofline/base/mapped_file.h"
#include "roofline/text/scored_vocabulary.h"
#include "roofline/text/token_files.h"
#include "roofline/text/utf8.h"

namespace roofline {

namespace {

/// A message of protocol buffers, read field by field. Lengths are checked
/// against the bytes that are there.
class Message {
 public:
  Message(std::string_view bytes, const std::string& label)
      : rest_(bytes), label_(&label) {}

  /// Goes to the next field; false at the end.
  bool next() {
    if (rest_.empty()) {
      return false;
    }
    const std::uint64_t key = varint();
    field_ = key >> 3;
    switch (key & 7) {
      case 0:
        number_ = varint();
        break;
      case 1:
        bytes_ = take(8);
        break;
      case 2:
        bytes_ = take(varint());
        break;
      case 5:
        bytes_ = take(4);
        break;
      default:
        broken("It has a field of an unknown kind");
    }
    return true;
  }
  std::uint64_t field() const { return field_; }
  std::uint64_t number() const { return number_; }
  std::string_view bytes() const { return bytes_; }
  float real() const {
    if (bytes_.size() != sizeof(float)) {
      broken("A score is no float");
    }
    float value;
    std::memcpy(&value, bytes_.data(), sizeof value);
    return value;
  }
  [[noreturn]] void broken(std::string_view why) const {
    fail<CheckpointError>(
        *label_ + " is broken",
        why,
        "Fetch tokenizer.model again");
  }

 private:
  std::string_view take(std::uint64_t size) {
    if (size > rest_.size()) {
      broken("It ends inside a field");
    }
    const std::string_view out = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return out;
  }
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1)[0]);
      value |= std::uint64_t{byte & 0x7Fu} << shift;
      if (byte < 0x80) {
        return value;
      }
    }
    broken("A number is longer than 64 bits");
  }

  std::string_view rest_, bytes_;
  const std::string* label_;
  std::uint64_t field_ = 0, number_ = 0;
};

struct SentencePieceModel {
  VocabularySpec spec;
  ScoredOptions options;
  std::uint64_t algorithm = kUnigram;

  static constexpr std::uint64_t kUnigram = 1, kBytePairs = 2;
};

// The field numbers of sentencepiece_model.proto.
void read_piece(std::string_view bytes, SentencePieceModel& model) {
  Message piece(bytes, model.options.source);
  std::string text;
  float score = 0;
  auto kind = static_cast<std::int32_t>(TokenKind::normal);
  while (piece.next()) {
    switch (piece.field()) {
      case 1:
        text = piece.bytes();
        break;
      case 2:
        score = piece.real();
        break;
      case 3:
        kind = static_cast<std::int32_t>(piece.number());
        break;
    }
  }
  if (first_invalid_utf8(text)) {
    piece.broken(
        fmt::format("Piece {} is not UTF-8", model.spec.tokens.size()));
  }
  model.spec.tokens.push_back(std::move(text));
  model.spec.scores.push_back(score);
  model.spec.types.push_back(kind);
}

std::optional<std::int32_t> id_of(std::uint64_t number) {
  // Negative ids, written as 64-bit numbers, mean that there is no such token.
  const auto id = static_cast<std::int32_t>(number);
  return id < 0 ? std::nullopt : std::optional(id);
}

void read_trainer(std::string_view bytes, SentencePieceModel& model) {
  Message trainer(bytes, model.options.source);
  while (trainer.next()) {
    switch (trainer.field()) {
      case 3:
        model.algorithm = trainer.number();
        break;
      case 35:
        model.options.byte_fallback = trainer.number() != 0;
        break;
      case 40:
        model.spec.unknown = id_of(trainer.number());
        break;
      case 41:
        model.spec.bos = id_of(trainer.number());
        break;
      case 42:
        model.spec.eos = id_of(trainer.number());
        break;
    }
  }
}

void read_normalizer(std::string_view bytes, SentencePieceModel& model) {
  Message normalizer(bytes, model.options.source);
  while (normalizer.next()) {
    switch (normalizer.field()) {
      case 2:
        model.options.charsmap = normalizer.bytes();
        break;
      case 3:
        model.spec.add_space_prefix = normalizer.number() != 0;
        break;
      case 4:
        model.options.collapse_spaces = normalizer.number() != 0;
        break;
    }
  }
}

SentencePieceModel read_model(std::string_view bytes, std::string label) {
  SentencePieceModel model;
  model.options.source = std::move(label);
  model.options.byte_fallback = false;
  model.options.collapse_spaces = true;
  model.spec.unknown = 0;
  model.spec.bos = 1;
  model.spec.eos = 2;
  Message message(bytes, model.options.source);
  while (message.next()) {
    switch (message.field()) {
      case 1:
        read_piece(message.bytes(), model);
        break;
      case 2:
        read_trainer(message.bytes(), model);
        break;
      case 3:
        read_normalizer(message.bytes(), model);
        break;
    }
  }
  return model;
}

/// User-defined pieces are found in the text before its spaces are marked.
void unmark_user_pieces(VocabularySpec& spec) {
  constexpr std::string_view kMark = "▁";
  for (std::size_t id = 0; id < spec.tokens.size(); ++id) {
    if (TokenKind{spec.types[id]} != TokenKind::user_defined) {
      continue;
    }
    std::string& token = spec.tokens[id];
    for (auto at = token.find(kMark); at != std::string::npos;
         at = token.find(kMark, at + 1)) {
      token.replace(at, kMark.size(), 1, ' ');
    }
  }
}

}  // namespace

std::unique_ptr<Tokenizer> Tokenizer::from_sentencepiece_file(
    const std::filesystem::path& tokenizer_model) {
  const MappedFile file(tokenizer_model);
  const auto bytes = file.bytes();
  SentencePieceModel model = read_model(
      {reinterpret_cast<const char*>(bytes.data()), bytes.size()},
      tokenizer_model.string());
  if (model.algorithm != SentencePieceModel::kUnigram &&
      model.algorithm != SentencePieceModel::kBytePairs) {
    fail<UnsupportedError>(
        tokenizer_model.string() + " can't be used",
        "Its pieces are words or characters; Roofline knows unigram and "
        "byte-pair models",
        "Use a tokenizer.json of the same model");
  }
  model.options.unigram = model.algorithm == SentencePieceModel::kUnigram;
  // Trimming would take a space in front away again.
  model.options.prefix_once = !model.options.collapse_spaces;
  const TokenFiles beside(tokenizer_model.parent_path());
  beside.append_added_tokens(model.spec);
  beside.apply_frame(model.spec);
  unmark_user_pieces(model.spec);
  require_consistent(model.spec, model.options.source);
  auto tokenizer = from_scores(model.spec, model.options);
  beside.name_ends(*tokenizer);
  if (!tokenizer->bos && model.spec.bos) {
    tokenizer->set_bos(*model.spec.bos);
  }
  if (!tokenizer->eos && model.spec.eos) {
    tokenizer->set_eos(*model.spec.eos);
  }
  return tokenizer;
}

}  // namespace roofline
