#include <filesystem>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/cli/adapter_flags.h"
#include "roofline/cli/app.h"
#include "roofline/cli/command.h"
#include "roofline/cli/options.h"
#include "roofline/cli/output.h"
#include "roofline/cli/run_answer.h"
#include "roofline/cli/signals.h"
#include "roofline/cli/thread_notice.h"
#include "roofline/cli/truth.h"
#include "roofline/decode/chat.h"
#include "roofline/text/utf8.h"

namespace roofline::cli {

namespace {

namespace fs = std::filesystem;

/// Whether somebody gave a model where a prompt belongs.
bool looks_like_model(const std::string& text) {
  std::error_code error;
  return (text.ends_with(".gguf") && fs::is_regular_file(text, error)) ||
         fs::is_regular_file(fs::path(text) / "config.json", error);
}

class Generate : public Command {
 public:
  void declare(App& app) override;
  int run() override;

 private:
  /// Splits the positional arguments into model and prompt.
  void place_arguments();
  std::string read_prompt() const;
  std::vector<std::int32_t> encode(
      const LoadedModel& loaded,
      const std::string& text) const;
  void print_json(const LoadedModel& loaded, const GenerateResult& result)
      const;
  void print_end(const LoadedModel& loaded, const GenerateResult& result) const;

  std::string first_, second_, named_, model_, prompt_;
  std::size_t given_ = 0;
  CLI::Option* first_option_ = nullptr;
  CLI::Option* second_option_ = nullptr;
  std::string file_, system_;
  bool raw_ = false;
  bool json_ = false;
  bool quiet_ = false;
  bool trace_startup_ = false;
  AnswerFlags flags_;
  AdapterFlags adapter_;
};

void Generate::declare(App& app) {
  first_option_ =
      app.add_option(
             "model",
             first_,
             "The model. Left out: the bundled one. A single argument is the "
             "prompt.")
          ->type_name("[MODEL]");
  second_option_ = app.add_option(
                          "prompt",
                          second_,
                          "The text to answer. -: read it from standard input.")
                       ->type_name("PROMPT");
  app.add_option(
         "--model",
         named_,
         "The model, in place of the first argument.")
      ->type_name("MODEL");
  const char* group = "Prompt";
  app.add_option("-f,--file", file_, "Read the prompt from a file.")
      ->type_name("FILE")
      ->group(group);
  app.add_option("--system", system_, "The system message.")
      ->type_name("TEXT")
      ->group(group);
  app.add_flag(
         "--raw",
         raw_,
         "Continue the prompt as it is, without the chat template.")
      ->group(group);
  flags_.declare(app);
  adapter_.declare(app);
  group = "Output";
  app.add_flag(
         "--json",
         json_,
         "Print one JSON object with the text, the tokens and the figures "
         "instead of streaming.")
      ->group(group);
  app.add_flag("--quiet", quiet_, "No line of figures at the end.")
      ->group(group);
  app.add_flag(
         "--trace-startup",
         trace_startup_,
         "Say what the time from the program's start to the first token is "
         "made of.")
      ->group(group);
  app.footer(
      "The answer goes to standard output; the line of figures that ends every "
      "run goes\n"
      "to standard error. Ctrl-C stops the answer; a second one ends the "
      "program.\n"
      "\n"
      "Examples\n"
      "    roofline generate \"Why is the sky blue?\"\n"
      "    roofline generate model.gguf --preset code \"Sort a list in C\"\n"
      "    git diff | roofline generate --system \"Review this.\" -\n"
      "    roofline generate --raw --temp 0 -n 20 \"Once upon a time\"\n"
      "    roofline generate path/to/folder --quant int4 --json \"Hello\"");
}

void Generate::place_arguments() {
  given_ = first_option_->count() + second_option_->count();
  const bool from_file = !file_.empty();
  if (from_file && given_ == 2) {
    fail<UserError>(
        "There are two prompts",
        fmt::format("--file {} and \"{}\"", file_, second_),
        "Give one of them");
  }
  if (given_ == 0 && !from_file) {
    fail<UserError>(
        "The prompt is missing",
        "",
        "Give it in quotes, as - for standard input, or with --file");
  }
  if (!named_.empty()) {
    if (given_ == 2 || (given_ == 1 && from_file)) {
      fail<UserError>(
          given_ == 2 ? "There are two models" : "There are two prompts",
          given_ == 2 ? fmt::format("--model {} and \"{}\"", named_, first_)
                      : fmt::format("--file {} and \"{}\"", file_, first_),
          "Give one of them");
    }
    model_ = named_;
    prompt_ = first_;
    return;
  }
  if (given_ == 2) {
    model_ = first_;
    prompt_ = second_;
  } else if (from_file) {
    model_ = first_;
  } else {
    prompt_ = first_;
    if (looks_like_model(prompt_)) {
      fail<UserError>(
          "The prompt is missing",
          prompt_ + " is a model",
          "Give the prompt after it, in quotes");
    }
  }
}

std::string Generate::read_prompt() const {
  const bool reads = !file_.empty() || prompt_ == "-";
  std::string text = reads ? read_file(file_.empty() ? "-" : file_) : prompt_;
  // An editor or echo put it there; nobody means it to be answered.
  if (reads && !raw_ && text.ends_with('\n')) {
    text.pop_back();
  }
  if (text.empty()) {
    fail<UserError>("The prompt is empty", "", "Give a text to answer");
  }
  require_utf8(text, "The prompt");
  require_utf8(system_, "--system");
  return text;
}

std::vector<std::int32_t> Generate::encode(
    const LoadedModel& loaded,
    const std::string& text) const {
  if (raw_ || (!loaded.has_chat_template() && system_.empty())) {
    if (!raw_ && !quiet_) {
      write_notice(
          "roofline: this checkpoint has no chat template; the prompt is "
          "continued as it is (--raw says so)\n");
    }
    return encode_prompt(loaded.tokenizer(), text);
  }
  auto messages = nlohmann::ordered_json::array();
  if (!system_.empty()) {
    messages.push_back({{"role", "system"}, {"content", system_}});
  }
  messages.push_back({{"role", "user"}, {"content", text}});
  return loaded.encode_messages(messages);
}

void Generate::print_json(
    const LoadedModel& loaded,
    const GenerateResult& result) const {
  nlohmann::ordered_json out = {
      {"model", loaded.checkpoint().path().string()},
      {"text", result.text},
      {"finish_reason", finish_reason_name(result.finish)},
      {"seed", result.seed},
      {"tokens", result.tokens},
      {"prompt_tokens", result.stats.prompt_tokens},
  };
  if (!quiet_) {
    out["stats"] = truth_of(loaded, result.stats, flags_.length.max_kv).json();
  }
  if (trace_startup_) {
    out["startup"] = loaded.startup().json();
  }
  if (!result.logprobs.empty()) {
    out["logprobs"] = logprobs_json(result, loaded.tokenizer());
  }
  write_json(out);
}

void Generate::print_end(
    const LoadedModel& loaded,
    const GenerateResult& result) const {
  // Elsewhere standard output holds the text and nothing else.
  if (!result.text.ends_with('\n') && people_read_output()) {
    write_output("\n");
  }
  write_notice(logprobs_table(result, loaded.tokenizer()));
  if (trace_startup_) {
    write_notice(loaded.startup().text());
  }
  if (!quiet_) {
    const TruthLine truth =
        truth_of(loaded, result.stats, flags_.length.max_kv);
    write_notice(truth.text() + "\n");
  }
}

int Generate::run() {
  place_arguments();
  if (raw_ && !system_.empty()) {
    fail<UserError>(
        "--raw and --system exclude each other",
        "Only a chat template has a place for a system message",
        "Leave one of them out");
  }
  const std::string settings = flags_.take_settings(model_);
  if (!quiet_) {
    write_notice(settings);
  }
  const GenerateOptions options = flags_.generate_options();
  const ModelOptions model_options = flags_.model_options();
  const std::string text = read_prompt();
  // Never destroyed: to free a vocabulary piece by piece would take longer than
  // the end of the process, which gives all of it back at once.
  static LoadedModel* kept = nullptr;
  kept = new LoadedModel(
      model_,
      model_options,
      adapter_.resolve(),
      flags_.draft.model);
  LoadedModel& loaded = *kept;
  if (!quiet_) {
    write_notice(loaded.cache_notice());
    write_notice(thread_notice(flags_.device.threads, model_options.device));
  }
  const std::vector<std::int32_t> prompt = encode(loaded, text);
  loaded.startup().lap("prompt to tokens");
  const AnswerRun answer = run_answer(
      loaded,
      prompt,
      options,
      json_ ? Stream::silent : Stream::text);
  loaded.startup().finish(answer.result.stats);
  if (json_) {
    print_json(loaded, answer.result);
  } else {
    print_end(loaded, answer.result);
  }
  return answer.signal == 0 ? kSuccess : exit_code_of(answer.signal);
}

}  // namespace

std::unique_ptr<Command> make_generate() {
  return std::make_unique<Generate>();
}

}  // namespace roofline::cli
