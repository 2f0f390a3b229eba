#include <csignal>
#include <memory>
#include <optional>
#include <span>
#include <sstream>
#include <string>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "roofline/base/atomic_file.h"
#include "roofline/base/errors.h"
#include "roofline/base/nearest.h"
#include "roofline/base/paths.h"
#include "roofline/cli/adapter_flags.h"
#include "roofline/cli/app.h"
#include "roofline/cli/command.h"
#include "roofline/cli/conversation.h"
#include "roofline/cli/line_reader.h"
#include "roofline/cli/options.h"
#include "roofline/cli/output.h"
#include "roofline/cli/run_answer.h"
#include "roofline/cli/signals.h"
#include "roofline/cli/thread_notice.h"
#include "roofline/cli/truth.h"
#include "roofline/text/utf8.h"

namespace roofline::cli {

namespace {

enum class Next { go_on, leave };

constexpr const char* kChatHelp =
    "/system [TEXT]  show or set the system message (- removes it)\n"
    "/adapter [A …]  show the adapters, or answer with others: "
    "FOLDER[=WEIGHT]\n"
    "                (- for none)\n"
    "/reset          forget the conversation, keep the system message\n"
    "/stats          figures of the last answer and size of the conversation\n"
    "/save FILE      write the messages as JSON\n"
    "/help           this list\n"
    "/exit           leave (Ctrl-D too)\n"
    "Several lines: end a line with \\, or write them between lines of "
    "\"\"\".\n"
    "Ctrl-C stops an answer. //text sends /text.\n";

std::string indented(std::string_view lines) {
  std::string out;
  while (!lines.empty()) {
    const std::size_t end = lines.find('\n');
    out += fmt::format("    {}\n", lines.substr(0, end));
    lines.remove_prefix(end == lines.npos ? lines.size() : end + 1);
  }
  return out;
}

class Chat : public Command {
 public:
  void declare(App& app) override;
  int run() override;

 private:
  int talk();
  Next obey(const SlashCommand& command);
  void set_system(const std::string& text);
  void set_adapters(const std::string& text);
  void save(const std::string& path) const;
  void show_stats() const;
  /// Answers one message; an error takes the message back and is told.
  Next answer(const std::string& text);
  std::string make_turn();
  /// Once, after the first answer, where --trace-startup asks for it.
  void tell_startup();

  std::string model_, system_;
  bool quiet_ = false;
  bool trace_startup_ = false;  ///< until it was told
  AnswerFlags flags_;
  AdapterFlags adapter_;
  GenerateOptions options_;
  std::unique_ptr<LoadedModel> loaded_;
  std::unique_ptr<LineReader> reader_;
  Conversation conversation_;
  std::optional<GenerateResult> last_;
  int failed_turns_ = 0;
  int ended_by_ = 0;  ///< SIGTERM, when it came
};

void Chat::declare(App& app) {
  app.add_option(
         "model,--model",
         model_,
         "The model. Left out: the bundled one.")
      ->type_name("[MODEL]");
  app.add_option("--system", system_, "The system message.")
      ->type_name("TEXT")
      ->group("Prompt");
  flags_.declare(app);
  adapter_.declare(app);
  app.add_flag("--quiet", quiet_, "No line of figures after each answer.")
      ->group("Output");
  app.add_flag(
         "--trace-startup",
         trace_startup_,
         "Say what the time from the program's start to the first token is "
         "made of.")
      ->group("Output");
  app.footer(
      std::string("In the conversation\n    ") +
      "Type a message. Ctrl-C stops an answer and not the program.\n" +
      indented(kChatHelp) +
      "\nExamples\n"
      "    roofline chat\n"
      "    roofline chat model.gguf --preset chat --system \"Be brief.\"\n"
      "    printf 'Hello\\nAnd again\\n' | roofline chat --temp 0");
}

int Chat::run() {
  const std::string settings = flags_.take_settings(model_);
  if (!quiet_) {
    write_notice(settings);
  }
  options_ = flags_.generate_options();
  const ModelOptions model_options = flags_.model_options();
  require_utf8(system_, "--system");
  loaded_ = std::make_unique<LoadedModel>(
      model_,
      model_options,
      adapter_.resolve(),
      flags_.draft.model);
  if (!quiet_) {
    write_notice(loaded_->cache_notice());
    write_notice(thread_notice(flags_.device.threads, model_options.device));
  }
  conversation_.set_system(system_);
  // Says at once that there is no chat template, or that it takes no system
  // message.
  Conversation probe = conversation_;
  probe.add("user", "Hello");
  loaded_->encode_messages(probe.messages());
  reader_ = std::make_unique<LineReader>(cache_dir() / "chat_history");
  loaded_->startup().lap("conversation");
  if (reader_->interactive()) {
    write_notice(fmt::format(
        "{} on {}. /help lists the commands.\n",
        loaded_->checkpoint().path().filename().string(),
        loaded_->decoder().device_name()));
  }
  return talk();
}

int Chat::talk() {
  const auto next = [this](bool continued) {
    return reader_->read(continued ? "... " : "> ");
  };
  Next step = Next::go_on;
  while (step == Next::go_on) {
    const std::optional<std::string> text = read_message(next);
    if (!text) {
      if (reader_->interactive()) {
        write_notice("\n");
      }
      break;
    }
    if (text->find_first_not_of(" \t\r\n") == std::string::npos) {
      continue;
    }
    reader_->remember(*text);
    const auto command = parse_slash(*text);
    // A second slash says that the line is no command.
    const bool escaped = text->starts_with("//");
    step = command ? obey(*command) : answer(text->substr(escaped ? 1 : 0));
  }
  if (ended_by_ != 0) {
    return exit_code_of(ended_by_);
  }
  return failed_turns_ > 0 && !reader_->interactive() ? kUserMistake : kSuccess;
}

Next Chat::obey(const SlashCommand& command) {
  const std::vector<std::string> known =
      {"system", "adapter", "reset", "stats", "save", "help", "exit", "quit"};
  const std::string& name = command.name;
  try {
    if (name == "exit" || name == "quit") {
      return Next::leave;
    }
    if (name == "system") {
      set_system(command.argument);
    } else if (name == "adapter") {
      set_adapters(command.argument);
    } else if (name == "reset") {
      conversation_.clear();
      loaded_->generator().reset();
      last_.reset();
    } else if (name == "stats") {
      show_stats();
    } else if (name == "save") {
      save(command.argument);
    } else if (name == "help") {
      write_notice(kChatHelp);
    } else {
      fail<UserError>(
          fmt::format("There is no command /{}", name),
          did_you_mean(name, known),
          "/help lists the commands");
    }
  } catch (const Error& error) {
    ++failed_turns_;
    write_notice(fmt::format("roofline: {}\n", error.what()));
  }
  return Next::go_on;
}

void Chat::set_system(const std::string& text) {
  if (text.empty()) {
    write_notice(
        conversation_.system().empty()
            ? "There is no system message.\n"
            : fmt::format("{}\n", conversation_.system()));
    return;
  }
  require_utf8(text, "The system message");
  conversation_.set_system(text == "-" ? "" : text);
}

/// "FOLDER[=WEIGHT] …", or "-" for none.
void Chat::set_adapters(const std::string& text) {
  if (text.empty()) {
    write_notice(
        adapter_.adapters.empty()
            ? "There is no adapter.\n"
            : fmt::format("{}\n", fmt::join(adapter_.adapters, " ")));
    return;
  }
  AdapterFlags wanted;
  std::istringstream words(text);
  for (std::string word; text != "-" && words >> word;) {
    wanted.adapters.push_back(word);
  }
  loaded_->use_adapters(wanted.resolve());
  adapter_ = wanted;
}

void Chat::save(const std::string& path) const {
  if (path.empty()) {
    fail<UserError>("/save needs a file", "", "Write /save FILE");
  }
  const std::string text = conversation_.messages().dump(2) + "\n";
  write_file_atomically(path, std::as_bytes(std::span(text)));
  write_notice(fmt::format(
      "{} messages written to {}\n",
      conversation_.messages().size(),
      path));
}

void Chat::show_stats() const {
  if (!last_) {
    write_notice("There was no answer yet.\n");
    return;
  }
  const GenerateStats& stats = last_->stats;
  write_notice(fmt::format(
      "{}\n{} turns; the last prompt had {} tokens, {} of them in the cache; "
      "the context holds {}\n",
      truth_of(*loaded_, stats, options_.max_kv_tokens).text(),
      conversation_.size(),
      stats.prompt_tokens,
      stats.cached_tokens,
      loaded_->decoder().spec().context_tokens));
}

void Chat::tell_startup() {
  if (!trace_startup_) {
    return;
  }
  trace_startup_ = false;
  loaded_->startup().finish(last_->stats);
  write_notice("\n" + loaded_->startup().text());
}

std::string Chat::make_turn() {
  if (trace_startup_) {
    loaded_->startup().lap("waiting for the message");
  }
  const std::vector<std::int32_t> prompt =
      loaded_->encode_messages(conversation_.messages());
  if (trace_startup_) {
    loaded_->startup().lap("prompt to tokens");
  }
  AnswerRun answer = run_answer(*loaded_, prompt, options_, Stream::text);
  ended_by_ = answer.signal == SIGTERM ? SIGTERM : 0;
  last_ = std::move(answer.result);
  tell_startup();
  return last_->text;
}

Next Chat::answer(const std::string& text) {
  try {
    require_utf8(text, "The message");
    conversation_.add("user", text);
  } catch (const Error& error) {
    ++failed_turns_;
    write_notice(fmt::format("roofline: {}\n", error.what()));
    return Next::go_on;
  }
  try {
    conversation_.add("assistant", make_turn());
    write_output("\n");
    if (!quiet_) {
      const TruthLine truth =
          truth_of(*loaded_, last_->stats, options_.max_kv_tokens);
      write_notice(truth.text() + "\n");
    }
  } catch (const UserError& error) {
    conversation_.drop_last();
    ++failed_turns_;
    write_notice(fmt::format("roofline: {}\n", error.what()));
  }
  return ended_by_ != 0 ? Next::leave : Next::go_on;
}

}  // namespace

std::unique_ptr<Command> make_chat() {
  return std::make_unique<Chat>();
}

}  // namespace roofline::cli
