#include <optional>

#include <fmt/format.h>

#include "roofline/base/clock.h"
#include "roofline/base/errors.h"
#include "roofline/cli/adapter_flags.h"
#include "roofline/cli/app.h"
#include "roofline/cli/command.h"
#include "roofline/cli/evaluate_report.h"
#include "roofline/cli/options.h"
#include "roofline/cli/output.h"
#include "roofline/cli/signals.h"
#include "roofline/cli/slow_start.h"
#include "roofline/cli/thread_notice.h"
#include "roofline/decode/chat.h"
#include "roofline/evaluate/choices.h"
#include "roofline/evaluate/quality.h"
#include "roofline/evaluate/texts.h"
#include "roofline/plan/roof.h"
#include "roofline/report/progress.h"
#include "roofline/text/utf8.h"
#include "roofline/weights/checkpoint.h"

namespace roofline::cli {

namespace {

constexpr int kContextTokens = 512;

class Evaluate : public Command {
 public:
  void declare(App& app) override {
    app.add_option(
           "model,--model",
           model_,
           "The model. Left out: the bundled one.")
        ->type_name("[MODEL]");
    declare_text(app);
    app.add_option(
           "--reference",
           reference_,
           "A model to compare with, most often the one that MODEL was made "
           "of, its cache in floats: Kullback-Leibler divergence from it, the "
           "same likeliest token, change of the right token's probability.")
        ->type_name("MODEL")
        ->group("Comparison");
    app.add_option(
           "--choices",
           choices_,
           "A multiple-choice task instead of a text: JSON lines with "
           "question, choices and answer.")
        ->type_name("FILE.jsonl")
        ->group("Tasks");
    app.add_option(
           "--limit",
           limit_,
           "Read so many tokens of the text, or questions of the task.")
        ->type_name("N")
        ->group("Output");
    app.add_flag("--json", json_, "Print JSON.")->group("Output");
    quant_.declare(app);
    kv_.declare(app);
    adapter_.declare(app);
    device_.declare(app);
    app.footer(
        "Without --text it reads a bundled text, English prose out of "
        "copyright.\n"
        "docs/evaluate.md says which settings give the figures of other "
        "programs.\n"
        "\n"
        "Examples\n"
        "    roofline evaluate model.gguf --context 512 --stride 256\n"
        "    roofline evaluate quantized --reference original --json\n"
        "    roofline evaluate model.gguf --text wiki.raw --like llama.cpp\n"
        "    roofline evaluate model.gguf --reference model.gguf --kv-bits 8\n"
        "    roofline evaluate model.gguf --choices arc.jsonl");
  }

  int run() override {
    if (limit_ && *limit_ < 1) {
      fail<UserError>(
          fmt::format("--limit {}", *limit_),
          "Nothing would be read",
          "Give 1 or more");
    }
    if (!choices_.empty() && !reference_.empty()) {
      fail<UserError>(
          "--choices and --reference together",
          "A task scores one model",
          "Evaluate each model on the task, and compare the accuracies");
    }
    ModelOptions options = device_.resolve();
    options.quantize = quant_.resolve();
    options.kv = kv_.resolve();
    const Clock::time_point start = Clock::now();
    checkpoint_ = Checkpoint::open(resolve_model(model_));
    tokenizer_ = checkpoint_->load_tokenizer();
    EvaluateReport report;
    if (choices_.empty()) {
      read_text(report);
    }
    {
      const SlowStart notice;
      decoder_ = load_with_adapters(*checkpoint_, options, adapter_.resolve());
    }
    write_notice(thread_notice(device_.threads, options.device));
    report.model = checkpoint_->path().string();
    report.size = size_of(*checkpoint_);
    report.quantized_at_load = options.quantize.has_value();
    report.kv = options.kv;
    report.device = decoder_->device_name();
    report.load_seconds = seconds_since(start);
    InterruptGuard interrupt;
    const auto stop = [&] { return interrupt.flag().load(); };
    const Clock::time_point begin = Clock::now();
    if (choices_.empty()) {
      evaluate_text(report, options, stop);
    } else {
      evaluate_choices(report, stop);
    }
    report.seconds = seconds_since(begin);
    report.peak_bytes = peak_memory_bytes();
    report.stopped = interrupt.signal() != 0;
    if (json_) {
      write_json(report.json());
    } else {
      write_output(report.text());
      write_notice(report.truth() + "\n");
    }
    return report.stopped ? exit_code_of(interrupt.signal()) : kSuccess;
  }

 private:
  void declare_text(App& app) {
    const char* group = "Text";
    app.add_option("--text", text_, "The text, UTF-8; - reads standard input.")
        ->type_name("FILE")
        ->group(group);
    app.add_option(
           "--context",
           context_,
           "Tokens of a window; each begins with nothing read. Default: 512.")
        ->type_name("N")
        ->group(group);
    app.add_option(
           "--stride",
           stride_,
           "Tokens from a window's begin to the next one's. Fewer than "
           "--context: windows overlap, and each token is predicted in the "
           "first window that has it. Default: --context.")
        ->type_name("N")
        ->group(group);
    app.add_option(
           "--least-context",
           least_context_,
           "Count only tokens with so many before them in their window. "
           "Default: 1.")
        ->type_name("N")
        ->group(group);
    app.add_option(
           "--bos",
           bos_,
           "Where a model's begin token goes, if its tokenizer adds one: in "
           "place of each window's first token, before the text, or nowhere. "
           "Default: window.")
        ->type_name("window|text|none")
        ->group(group);
    app.add_option(
           "--like",
           like_,
           "The settings of another program: llama.cpp (whole windows, of "
           "each the second half counts, begin token in each) or transformers "
           "(begin token before the text).")
        ->type_name("llama.cpp|transformers")
        ->group(group);
  }

  /// Where the begin token goes.
  std::string bos_place() const {
    const std::string place =
        bos_.value_or(like_ == "transformers" ? "text" : "window");
    if (place != "window" && place != "text" && place != "none") {
      fail<UserError>(
          "--bos " + place,
          "It can be window, text or none",
          "See `roofline evaluate --help`");
    }
    return place;
  }

  WindowOptions window_options() const {
    if (!like_.empty() && like_ != "llama.cpp" && like_ != "transformers") {
      fail<UserError>(
          "--like " + like_,
          "It can be llama.cpp or transformers",
          "See `roofline evaluate --help`");
    }
    WindowOptions options;
    options.context_tokens = context_.value_or(kContextTokens);
    options.stride_tokens = stride_.value_or(options.context_tokens);
    options.least_context = least_context_.value_or(1);
    if (like_ == "llama.cpp") {
      options.least_context =
          least_context_.value_or(options.context_tokens / 2 + 1);
      options.whole_only = true;
    }
    return options;
  }

  void read_text(EvaluateReport& report) {
    const std::string text =
        text_.empty() ? std::string(evaluation_text()) : read_file(text_);
    require_utf8(text, "evaluate: the text");
    const std::string place = bos_place();
    windows_ = window_options();
    tokens_ = place == "none" ? tokenizer_->encode(text, Specials::none)
                              : encode_prompt(*tokenizer_, text);
    const bool adds_bos = place != "none" && tokenizer_->bos &&
                          !tokens_.empty() && tokens_[0] == *tokenizer_->bos;
    if (place == "window" && adds_bos) {
      windows_.first_token = tokenizer_->bos;
    }
    if (limit_ && static_cast<std::size_t>(*limit_) < tokens_.size()) {
      tokens_.resize(static_cast<std::size_t>(*limit_));
    }
    report.text_name = text_.empty() ? "the bundled text" : text_;
    report.bos = adds_bos ? place : "none";
    report.windows = windows_;
    if (make_windows(tokens_.size(), windows_).empty()) {
      fail<UserError>(
          fmt::format("The text has {} tokens", tokens_.size()),
          "No window of it predicts a token",
          "Give a longer --text, or a smaller --context");
    }
  }

  void evaluate_text(
      EvaluateReport& report,
      const ModelOptions& options,
      const std::function<bool()>& stop) {
    Progress progress("Evaluating", notice_on_terminal());
    QualityOptions quality;
    quality.windows = windows_;
    quality.stop = stop;
    quality.progress = [&](double share) { progress.update(share); };
    std::unique_ptr<Checkpoint> source;
    std::unique_ptr<Decoder> reference;
    if (!reference_.empty()) {
      source = Checkpoint::open(resolve_model(reference_));
      ModelOptions plain = options;
      plain.quantize.reset();
      plain.kv = {};
      reference = Decoder::load(*source, plain);
      report.reference = source->path().string();
      report.reference_size = size_of(*source);
    }
    report.quality = measure_quality(
        reference ? *reference : *decoder_,
        *decoder_,
        tokens_,
        quality);
  }

  void evaluate_choices(
      EvaluateReport& report,
      const std::function<bool()>& stop) {
    auto questions = parse_choice_questions(read_file(choices_), choices_);
    if (limit_ && static_cast<std::size_t>(*limit_) < questions.size()) {
      questions.resize(static_cast<std::size_t>(*limit_));
    }
    Progress progress("Evaluating", notice_on_terminal());
    ChoiceOptions options;
    options.begin = bos_place() == "none" ? BeginToken::none : BeginToken::add;
    options.stop = stop;
    options.progress = [&](double share) { progress.update(share); };
    report.choices = score_choices(*decoder_, *tokenizer_, questions, options);
    report.questions = std::move(questions);
    report.text_name = choices_;
  }

  std::string model_, text_, reference_, choices_, like_;
  std::optional<std::string> bos_;
  std::optional<int> context_, stride_, least_context_, limit_;
  bool json_ = false;
  QuantFlags quant_;
  KvFlags kv_;
  AdapterFlags adapter_;
  DeviceFlags device_;
  std::unique_ptr<Checkpoint> checkpoint_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<Decoder> decoder_;
  WindowOptions windows_;
  std::vector<std::int32_t> tokens_;
};

}  // namespace

std::unique_ptr<Command> make_evaluate() {
  return std::make_unique<Evaluate>();
}

}  // namespace roofline::cli
