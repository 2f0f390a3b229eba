
#include <string>
#include <vector>

#include <fmt/format.h>

#include "roofline/cli/app.h"
#include "roofline/cli/command.h"
#include "roofline/cli/output.h"
#include "roofline/cli/signals.h"
#include "roofline/report/progress.h"
#include "roofline/weights/hub/pull.h"

namespace roofline::cli {

namespace {

/// Ends a download from within its progress.
struct Interrupted {};

class PullCommand : public Command {
 public:
  void declare(App& app) override {
    app.add_option("name", name_, "The model's name on the hub.")
        ->type_name("ORG/NAME")
        ->required();
    app.add_option(
           "--revision",
           options_.revision,
           "A branch, a tag or a commit. Default: main.")
        ->type_name("R");
    app.add_option(
           "--include",
           options_.include,
           "Only files like this (\"*.json\"); may be given several times. "
           "Default: weights, config, tokenizer and card.")
        ->type_name("PATTERN");
    app.add_option(
           "--quant",
           options_.gguf_quant,
           "Of several GGUF files the one with this in its name.")
        ->type_name("NAME");
    app.add_flag("--json", json_, "Print JSON.")->group("Output");
    app.footer(
        "Downloads into the cache that the Hugging Face tools share. What "
        "broke off goes on\n"
        "where it stopped. HF_ENDPOINT, HF_TOKEN, HF_HOME, HF_HUB_CACHE and\n"
        "HF_HUB_OFFLINE mean what they mean there.\n"
        "\n"
        "Examples\n"
        "    roofline pull Qwen/Qwen3-0.6B\n"
        "    roofline pull org/name-GGUF --quant q4_k_m\n"
        "    roofline generate Qwen/Qwen3-0.6B \"Hello\"");
  }

  int run() override {
    const InterruptGuard interrupts;
    PulledModel done;
    try {
      Progress progress(fmt::format("Pulling {}", name_), notice_on_terminal());
      options_.progress = [&](double share, std::string_view file) {
        if (interrupts.flag()) {
          throw Interrupted();
        }
        progress.update(share, file);
      };
      done = pull_model(read_hub_settings(), name_, options_);
    } catch (const Interrupted&) {
      write_notice(
          "roofline: Interrupted; the same command goes on from here.\n");
      return exit_code_of(interrupts.signal());
    }
    print(done);
    return kSuccess;
  }

 private:
  void print(const PulledModel& done) const {
    if (json_) {
      write_json(
          {{"name", name_},
           {"path", done.folder.string()},
           {"commit", done.commit},
           {"files", done.files},
           {"bytes", done.bytes},
           {"fetched_bytes", done.fetched_bytes}});
      return;
    }
    write_output(fmt::format(
        "{}: {} in {} files, {} fetched\n{}\n",
        name_,
        format_bytes(static_cast<double>(done.bytes)),
        done.files,
        format_bytes(static_cast<double>(done.fetched_bytes)),
        done.folder.string()));
  }

  std::string name_;
  PullOptions options_;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> make_pull() {
  return std::make_unique<PullCommand>();
}

}  // namespace roofline::cli
