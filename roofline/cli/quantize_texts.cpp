#include "roofline/cli/quantize_texts.h"

#include <algorithm>
#include <random>
#include <span>
#include <utility>

#include "roofline/base/errors.h"
#include "roofline/cli/output.h"
#include "roofline/decode/chat.h"
#include "roofline/evaluate/texts.h"
#include "roofline/quantize/quantize.h"
#include "roofline/text/utf8.h"

namespace roofline::cli {

namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kCalibrationSeed = 1;
constexpr std::uint64_t kTestSeed = 2;
/// Of a text, of which one is measured on.
constexpr int kParts = 8;

/// A folder that brings weights alone, as tests' and random models do.
bool lacks_tokenizer(const fs::path& model) {
  return fs::is_directory(model) && !fs::exists(model / "tokenizer.json") &&
         !fs::exists(model / "tokenizer.model");
}

}  // namespace

QuantizeTexts::QuantizeTexts(
    const Checkpoint& checkpoint,
    std::string calibration,
    std::string quality)
    : vocab_(checkpoint.spec().vocab),
      calibration_(std::move(calibration)),
      quality_(std::move(quality)) {
  // A text that was given can't be read without one: that is told.
  const bool given = !calibration_.empty() || !quality_.empty();
  if (given || !lacks_tokenizer(checkpoint.path())) {
    tokenizer_ = checkpoint.load_tokenizer();
  }
}

std::vector<std::vector<std::int32_t>> QuantizeTexts::windows(
    int window,
    int total) {
  return windows_of(calibration(std::max(window, total)), window, total);
}

std::vector<std::vector<std::int32_t>> QuantizeTexts::last_windows(
    int window,
    int total) {
  const std::span all = calibration(kParts * std::max(window, total));
  return windows_of(all.last(all.size() / kParts), window, total);
}

std::vector<std::vector<std::int32_t>> QuantizeTexts::first_windows(
    int window,
    int total) {
  const std::span all = calibration(kParts * std::max(window, total));
  return windows_of(all.first(all.size() - all.size() / kParts), window, total);
}

/// Its tokens; of those drawn by chance at least so many.
const std::vector<std::int32_t>& QuantizeTexts::calibration(int least) {
  if (by_chance()) {
    if (calibration_tokens_.size() < static_cast<std::size_t>(least)) {
      calibration_tokens_ = drawn(least, kCalibrationSeed);
    }
  } else if (calibration_tokens_.empty()) {
    calibration_tokens_ = encode(calibration_, calibration_text());
  }
  return calibration_tokens_;
}

std::vector<std::vector<std::int32_t>> QuantizeTexts::windows_of(
    std::span<const std::int32_t> tokens,
    int window,
    int total) const {
  return spread_windows(
      tokens,
      window,
      total,
      by_chance() ? std::nullopt : begin_of(calibration_tokens_));
}

std::vector<std::int32_t> QuantizeTexts::test(int most) {
  if (by_chance()) {
    return drawn(most, kTestSeed);
  }
  auto tokens = encode(quality_, evaluation_text());
  tokens.resize(std::min(tokens.size(), static_cast<std::size_t>(most)));
  test_begin_ = begin_of(tokens);
  return tokens;
}

std::vector<std::int32_t> QuantizeTexts::encode(
    const std::string& file,
    std::string_view bundled) const {
  const std::string text =
      file.empty() ? std::string(bundled) : read_file(file);
  require_utf8(text, "quantize: the text");
  return encode_prompt(*tokenizer_, text);
}

std::vector<std::int32_t> QuantizeTexts::drawn(int count, std::uint64_t seed)
    const {
  std::mt19937_64 random(seed);
  std::vector<std::int32_t> ids(static_cast<std::size_t>(count));
  for (auto& id : ids) {
    id = static_cast<std::int32_t>(
        random() % static_cast<std::uint64_t>(vocab_));
  }
  return ids;
}

std::optional<std::int32_t> QuantizeTexts::begin_of(
    const std::vector<std::int32_t>& tokens) const {
  const bool there =
      tokenizer_->bos && !tokens.empty() && tokens[0] == *tokenizer_->bos;
  return there ? tokenizer_->bos : std::nullopt;
}

}  // namespace roofline::cli
