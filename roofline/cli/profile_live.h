// The line of `roofline profile --live`: speed of the last second, memory and
// the share of the roof, on standard error; the answer goes to standard output.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>

#include "roofline/decode/answer.h"
#include "roofline/model/decoder.h"
#include "roofline/text/tokenizer.h"

namespace roofline::cli {

class ProfileLive {
 public:
  /// bandwidth: bytes a second, for the roof; silent: the answer isn't printed.
  /// Both references must outlive it.
  ProfileLive(
      const Decoder& decoder,
      const Tokenizer& tokenizer,
      std::size_t prompt_tokens,
      double bandwidth,
      bool silent);

  /// True: go on.
  bool push(std::int32_t token);
  /// Wipes the line and ends the text.
  void finish();

 private:
  void show(double now);

  const Decoder& decoder_;
  double bandwidth_ = 0;
  bool terminal_ = false;  ///< the line is redrawn
  std::string text_;       ///< printed at the end when the terminal has both
  std::function<void(std::string_view)> on_text_;
  Answer answer_;
  std::int64_t depth_ = 0;    ///< tokens in the cache
  std::int64_t tokens_ = 0;   ///< of the answer
  std::deque<double> times_;  ///< of the last second's tokens
  double shown_ = 0;
};

}  // namespace roofline::cli
