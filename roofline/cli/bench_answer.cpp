#include "roofline/cli/bench_answer.h"

#include <fstream>
#include <sstream>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/decode/chat.h"
#include "roofline/text/chat_template.h"

namespace roofline::cli {

std::vector<std::int32_t> encode_prompt_file(
    const Checkpoint& checkpoint,
    const Tokenizer& tokenizer,
    const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  if (!file || text.str().empty()) {
    fail<UserError>(
        fmt::format("The prompt {} can't be read", path),
        "",
        "Name a file with the text to answer");
  }
  if (const auto source = checkpoint.chat_template()) {
    nlohmann::ordered_json messages = nlohmann::ordered_json::array();
    messages.push_back({{"role", "user"}, {"content", text.str()}});
    const ChatTemplate chat_template(*source);
    return encode_chat(tokenizer, &chat_template, messages);
  }
  return encode_prompt(tokenizer, text.str());
}

BenchAnswers::BenchAnswers(
    Decoder& decoder,
    const Checkpoint& checkpoint,
    const std::string& prompt_file,
    int prefill_step,
    const GenerateOptions& guessing,
    const std::optional<SamplingOptions>& sampling)
    : tokenizer_(checkpoint.load_tokenizer()),
      prompt_(encode_prompt_file(checkpoint, *tokenizer_, prompt_file)),
      generator_(decoder, *tokenizer_) {
  options_.sampling.temperature = 0;
  if (sampling) {
    options_.sampling = *sampling;
    options_.sampling.seed = sampling->seed.value_or(1);
  }
  options_.ignore_eos = true;
  options_.prefill_chunk = prefill_step;
  options_.prompt_lookup = guessing.prompt_lookup;
  options_.num_draft_tokens = guessing.num_draft_tokens;
}

void BenchAnswers::set_draft(Decoder& draft, const Checkpoint& checkpoint) {
  generator_.set_draft(draft, *checkpoint.load_tokenizer());
}

BenchSample BenchAnswers::measure(const BenchCase& what) {
  BenchSample sample;
  if (what.phase == BenchPhase::prefill) {
    generator_.reset();
    options_.max_tokens = 1;
    sample.seconds =
        generator_.run(prompt_, options_, {}).stats.prefill_seconds;
    return sample;
  }
  // The first token comes with the prompt.
  options_.max_tokens = what.tokens + 1;
  const GenerateStats stats = generator_.run(prompt_, options_, {}).stats;
  if (stats.generated_tokens <= what.tokens) {
    fail<UserError>(
        fmt::format("The answer ended after {} tokens", stats.generated_tokens),
        "The context is full",
        "Give a shorter prompt, or a smaller -n");
  }
  sample.seconds = stats.decode_seconds;
  return sample;
}

}  // namespace roofline::cli
