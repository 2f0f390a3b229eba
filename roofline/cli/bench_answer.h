// Times answers to a text, where a benchmark runs synthetic ids: what looking
// up the next tokens gains depends on what is said.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "roofline/decode/generate.h"
#include "roofline/plan/bench.h"
#include "roofline/text/tokenizer.h"
#include "roofline/weights/checkpoint.h"

namespace roofline::cli {

/// The text of a file as the checkpoint's ids, as `generate` would take it: a
/// user's message where there is a chat template. Throws UserError when it
/// can't be read.
std::vector<std::int32_t> encode_prompt_file(
    const Checkpoint& checkpoint,
    const Tokenizer& tokenizer,
    const std::string& path);

class BenchAnswers {
 public:
  /// Both must outlive it. guessing: prompt_lookup and num_draft_tokens of
  /// GenerateOptions count. sampling: absent is greedy.
  BenchAnswers(
      Decoder& decoder,
      const Checkpoint& checkpoint,
      const std::string& prompt_file,
      int prefill_step,
      const GenerateOptions& guessing,
      const std::optional<SamplingOptions>& sampling = std::nullopt);

  /// As Generator::set_draft(), with the draft checkpoint's own tokenizer.
  void set_draft(Decoder& draft, const Checkpoint& checkpoint);

  /// Prefill: all of the text, whatever what.tokens says. Decode: so many
  /// tokens of an answer after it; its end isn't one.
  BenchSample measure(const BenchCase& what);

 private:
  std::unique_ptr<Tokenizer> tokenizer_;
  std::vector<std::int32_t> prompt_;
  Generator generator_;
  GenerateOptions options_;
};

}  // namespace roofline::cli
