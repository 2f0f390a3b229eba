// The token ids that quantize reads: of the text that calibrated methods look
// at, and of another one that the result is compared on. A folder without a
// tokenizer has no texts: its ids are drawn by chance.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "roofline/text/tokenizer.h"
#include "roofline/weights/checkpoint.h"

namespace roofline::cli {

class QuantizeTexts {
 public:
  /// Files, or empty for the bundled texts. Throws CheckpointError for a broken
  /// tokenizer.
  QuantizeTexts(
      const Checkpoint& checkpoint,
      std::string calibration,
      std::string quality);

  /// Windows from all over the calibration text, `total` tokens in all.
  std::vector<std::vector<std::int32_t>> windows(int window, int total);
  /// The same of its last eighth, to measure on; and of the others.
  std::vector<std::vector<std::int32_t>> last_windows(int window, int total);
  std::vector<std::vector<std::int32_t>> first_windows(int window, int total);
  /// The first `most` tokens to compare on.
  std::vector<std::int32_t> test(int most);
  /// What each window of the latter begins with, where tokenizers add it.
  std::optional<std::int32_t> test_begin() const { return test_begin_; }
  /// Whether ids are drawn by chance.
  bool by_chance() const { return tokenizer_ == nullptr; }

 private:
  const std::vector<std::int32_t>& calibration(int least);
  std::vector<std::vector<std::int32_t>> windows_of(
      std::span<const std::int32_t> tokens,
      int window,
      int total) const;
  std::vector<std::int32_t> encode(
      const std::string& file,
      std::string_view bundled) const;
  std::vector<std::int32_t> drawn(int count, std::uint64_t seed) const;
  std::optional<std::int32_t> begin_of(
      const std::vector<std::int32_t>& tokens) const;

  int vocab_;
  std::string calibration_, quality_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::vector<std::int32_t> calibration_tokens_;  ///< once they're needed
  std::optional<std::int32_t> test_begin_;
};

}  // namespace roofline::cli
