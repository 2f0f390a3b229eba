#include <algorithm>
#include <optional>
#include <span>

#include <fmt/format.h>
#include <unistd.h>

#include "roofline/base/atomic_file.h"
#include "roofline/base/errors.h"
#include "roofline/base/thread_pool.h"
#include "roofline/cli/app.h"
#include "roofline/cli/command.h"
#include "roofline/cli/loaded_model.h"
#include "roofline/cli/option_helpers.h"
#include "roofline/cli/options.h"
#include "roofline/cli/output.h"
#include "roofline/cli/profile_live.h"
#include "roofline/cli/profile_report.h"
#include "roofline/cli/signals.h"
#include "roofline/cli/slow_start.h"
#include "roofline/cli/startup_trace.h"
#include "roofline/cli/thread_notice.h"
#include "roofline/decode/chat.h"
#include "roofline/plan/machine.h"
#include "roofline/plan/roof.h"
#include "roofline/report/progress.h"
#include "roofline/report/timeline.h"
#include "roofline/text/utf8.h"
#include "roofline/weights/checkpoint.h"

namespace roofline::cli {

namespace {

constexpr const char* kDefaultPrompt =
    "Explain in a few sentences why the sky is blue.";

void write_file(const std::string& path, const std::string& text) {
  write_file_atomically(path, std::as_bytes(std::span(text)));
}

std::vector<std::int32_t> encode(
    const Checkpoint& checkpoint,
    const Tokenizer& tokenizer,
    bool raw,
    const std::string& text) {
  const auto source = checkpoint.chat_template();
  if (raw || !source) {
    return encode_prompt(tokenizer, text);
  }
  const ChatTemplate chat_template(*source);
  auto messages = nlohmann::ordered_json::array();
  messages.push_back({{"role", "user"}, {"content", text}});
  return encode_chat(tokenizer, &chat_template, messages);
}

class Profile : public Command {
 public:
  void declare(App& app) override;
  int run() override;

 private:
  void load(const ModelOptions& options);
  void run_model();
  void write_files() const;

  std::string prompt_ = kDefaultPrompt;
  std::string model_, out_, html_, powermetrics_;
  TracedRunOptions options_;
  bool raw_ = false;
  bool live_ = false;
  bool json_ = false;
  int signal_ = 0;  // that cut the run short
  DeviceFlags device_;
  QuantFlags quant_;
  KvFlags kv_;

  std::unique_ptr<Checkpoint> checkpoint_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<Decoder> decoder_;
  std::vector<std::int32_t> ids_;
  ProfileResult result_;
};

void Profile::declare(App& app) {
  app.add_option("prompt", prompt_, "The text to answer, greedily.")
      ->type_name("[PROMPT]");
  app.add_option("--model", model_, "The model. Default: the bundled one.")
      ->type_name("MODEL")
      ->group("Run");
  app.add_option("-n", options_.max_tokens, "Most tokens. Default: 64.")
      ->check(in_range(1, 1000000))
      ->type_name("N")
      ->group("Run");
  app.add_option(
         "--prefill-step",
         options_.prefill_step,
         "Tokens of the prompt that run at once. Default: 512.")
      ->check(in_range(1, 65536))
      ->type_name("N")
      ->group("Run");
  app.add_flag("--ignore-eos", options_.ignore_eos, "Go on after an end token.")
      ->group("Run");
  app.add_flag("--raw", raw_, "Continue the prompt without the chat template.")
      ->group("Run");
  quant_.declare(app);
  kv_.declare(app);
  device_.declare(app);
  const char* group = "Output";
  app.add_option("--out", out_, "Write the trace, for Perfetto.")
      ->type_name("FILE")
      ->group(group);
  app.add_option("--html", html_, "Write a page with the timeline.")
      ->type_name("FILE")
      ->group(group);
  app.add_option(
         "--powermetrics",
         powermetrics_,
         "Join what `powermetrics -o FILE` of macOS wrote meanwhile.")
      ->type_name("FILE")
      ->group(group);
  app.add_flag(
         "--live",
         live_,
         "Show speed, memory and the share of the roof while it runs, and the "
         "answer.")
      ->group(group);
  app.add_flag("--json", json_, "Print one JSON object.")->group(group);
  app.footer(
      "Examples\n"
      "    roofline profile \"Once upon a time\" -n 32 --out trace.json\n"
      "    roofline profile --model model.gguf \"Hi\" --html page.html\n"
      "    roofline profile --live -n 500 --ignore-eos");
}

void Profile::load(const ModelOptions& options) {
  double start = trace_seconds();
  checkpoint_ = Checkpoint::open(resolve_model(model_));
  trace_span("load: open", start);
  start = trace_seconds();
  tokenizer_ = checkpoint_->load_tokenizer();
  ids_ = encode(*checkpoint_, *tokenizer_, raw_, prompt_);
  trace_span("load: tokenizer", start);
  start = trace_seconds();
  const SlowStart notice;
  decoder_ = Decoder::load(*checkpoint_, options);
  trace_span("load: weights", start);
  result_.load_seconds = trace_seconds();
}

void Profile::run_model() {
  result_.model = checkpoint_->path().string();
  result_.device = decoder_->device_name();
  std::optional<ProfileLive> live;
  if (live_) {
    live.emplace(*decoder_, *tokenizer_, ids_.size(), result_.bandwidth, json_);
  }
  Progress progress("Running", live ? Progress::Write() : notice_on_terminal());
  int count = 0;
  const InterruptGuard interrupt;
  result_.run = run_traced(*decoder_, ids_, options_, [&](std::int32_t token) {
    progress.update(++count / static_cast<double>(options_.max_tokens));
    return (!live || live->push(token)) && !interrupt.flag();
  });
  if (live) {
    live->finish();
  }
  signal_ = interrupt.signal();
  result_.trace = get_memory_trace();
  result_.step = step_bytes(
      *decoder_,
      result_.run.prompt_tokens + result_.run.steps / 2,
      std::nullopt,
      1);
  result_.bandwidth = current_profile().read_bandwidth;
}

void Profile::write_files() const {
  const std::string trace = trace_json(result_.trace);
  if (!out_.empty()) {
    write_file(out_, trace);
  }
  if (!html_.empty()) {
    write_file(html_, timeline_html("Profile", trace));
  }
}

int Profile::run() {
  require_utf8(prompt_, "The prompt");
  ModelOptions options = device_.resolve();
  options.quantize = quant_.resolve();
  options.kv = kv_.resolve();
  if (!powermetrics_.empty() && ::access(powermetrics_.c_str(), R_OK) != 0) {
    read_file(powermetrics_);  // says why, before the run rather than after it
  }
  const double started = process_seconds();
  if (live_) {
    // Now rather than in the middle of the trace.
    const bool cpu = options.device == DeviceChoice::cpu;
    const MachineProfile machine =
        cpu ? machine_profile(ThreadPool::global().threads())
            : current_profile();
    result_.bandwidth = machine.read_bandwidth;
  }
  result_.begin_unix_seconds = unix_seconds() - started;
  enable_memory_trace(started);
  trace_span("process start", 0);
  load(options);
  write_notice(thread_notice(device_.threads, options.device));
  run_model();
  if (!powermetrics_.empty()) {
    join_powermetrics(result_, read_file(powermetrics_));
  }
  write_files();
  if (json_) {
    write_json(profile_json(result_));
  } else {
    write_text(profile_text(result_));
  }
  return signal_ == 0 ? kSuccess : exit_code_of(signal_);
}

}  // namespace

std::unique_ptr<Command> make_profile() {
  return std::make_unique<Profile>();
}

}  // namespace roofline::cli
