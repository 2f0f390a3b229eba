#include "roofline/cli/memory_flags.h"

#include <array>
#include <string>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/cli/app.h"
#include "roofline/cli/option_helpers.h"

namespace roofline::cli {

namespace {

constexpr std::array kOfInference = {
    "--quant",
    "--group-size",
    "--quant-8bit",
    "--context",
    "--kv-bits",
    "--k-bits",
    "--v-bits",
    "--kv-group-size",
    "--kv-keep-full",
    "--prefill-step",
    "--measure-steps"};
constexpr std::array kOfTraining = {
    "--rank",
    "--targets",
    "--seq",
    "--train-batch",
    "--train-layers",
    "--checkpointing",
    "--optimizer",
    "--precision"};
constexpr std::array kElse = {
    "--model",
    "--batch",
    "--device",
    "--threads",
    "--ram",
    "--measure",
    "--fit"};
constexpr std::array kTexts =
    {"--context", "--device", "--train", "--targets", "--optimizer", "--plot"};

[[noreturn]] void refuse_pair(
    const std::string& option,
    const std::string& other,
    const std::string& why,
    const std::string& hint = "Leave one of them out") {
  fail<UserError>(
      fmt::format("{} and {} don't go together", option, other),
      why,
      hint);
}

}  // namespace

bool MemoryFlags::given(const std::string& option) const {
  return app_->get_option(option)->count() > 0;
}

void MemoryFlags::require_own_options() const {
  for (const char* option : kTexts) {
    const CLI::Option& text = *app_->get_option(option);
    if (text.count() > 0 && text.as<std::string>().empty()) {
      fail<UserError>(
          fmt::format("{} is empty", option),
          "",
          "Give it a value, or leave it out");
    }
  }
  if (table || history) {
    const std::string asked = table ? "--table" : "--history";
    const auto refuse = [&](const auto& options) {
      for (const char* option : options) {
        if (given(option)) {
          refuse_pair(option, asked, "That table is of its own settings");
        }
      }
    };
    refuse(kOfInference);
    refuse(kOfTraining);
    refuse(kElse);
  }
  for (const char* option : kOfInference) {
    if (!train.empty() && given(option)) {
      const bool quantizes = option == std::string("--quant");
      refuse_pair(
          option,
          "--train",
          quantizes ? "Training quantizes what stays as it is, with the method "
                      "qlora"
                    : "It is a setting of inference",
          quantizes ? "Ask with --train qlora"
                    : "Training's are --seq, --batch and the like");
    }
  }
  for (const char* option : kOfTraining) {
    if (train.empty() && given(option)) {
      fail<UserError>(
          fmt::format("{} needs --train", option),
          "It is a setting of training",
          "Add --train lora, or leave it out");
    }
  }
  if (!train.empty() && given("--batch") && given("--train-batch")) {
    refuse_pair("--batch", "--train-batch", "Both are samples of a step");
  }
}

void MemoryFlags::require_one_question() const {
  const bool training = !train.empty();
  struct Question {
    const char* option;
    bool asked;
  };
  const Question questions[] = {
      {"--table", table},
      {"--history", history},
      {"--fit", fit},
      {"--measure", measure && !training},
      {"--train", training},
      {"--ram without a model", asks_for_models()}};
  const char* first = nullptr;
  for (const Question& question : questions) {
    if (question.asked && first != nullptr) {
      fail<UserError>(
          fmt::format("{} and {} are two questions", first, question.option),
          "",
          "Ask them one after the other");
    }
    first = question.asked ? question.option : first;
  }
  require_own_options();
  const bool draws = first == nullptr || (measure && !training);
  if (!plot.empty() && !draws) {
    refuse_pair(
        "--plot",
        first,
        "It draws memory over the context of a model's inference");
  }
  if (measure && ram) {
    refuse_pair(
        "--measure",
        "--ram",
        "What is measured runs on this machine, not on a named one");
  }
  if (given("--measure-steps") && !measure) {
    fail<UserError>(
        "--measure-steps needs --measure",
        "",
        "Add it, or leave --measure-steps out");
  }
  if (asks_for_models() && context == "max") {
    refuse_pair(
        "--context max",
        "--ram without a model",
        "Each model's largest context is told there");
  }
}

void MemoryFlags::declare(App& app) {
  app_ = &app;
  app.add_option(
         "MODEL,--model",
         model,
         "A file, a folder, a config.json or a name of the catalogue. "
         "Default: the bundled one.")
      ->type_name("MODEL")
      ->group("Model");
  declare_run(app);
  declare_training(app);
  declare_questions(app);
}

void MemoryFlags::declare_run(App& app) {
  const char* group = "Inference";
  quant.declare(app);
  app.add_option(
         "--context",
         context,
         "Tokens of the sequence, as in 8192 or 8k, or max: the most that fit. "
         "Default: 4096.")
      ->type_name("N|max")
      ->group(group);
  app.add_option(
         "--batch",
         run.batch,
         "Sequences at once; with --train, samples of a step. Default: 1.")
      ->type_name("N")
      ->group(group);
  kv.declare(app);
  app.add_option(
         "--prefill-step",
         run.prefill_step,
         "Tokens of a prefill step. Default: 512.")
      ->type_name("N")
      ->group(group);
  app.add_option(
         "--device",
         device,
         "cpu or gpu: on which it would run. Default: gpu where there is one, "
         "and with --ram; else cpu.")
      ->type_name("NAME")
      ->group(group);
  app.add_option(
         "--threads",
         threads,
         "Threads of the CPU's kernels, each of which has memory of its own. "
         "Default: all cores.")
      ->type_name("N")
      ->check(in_range(1, 1024))
      ->group(group);
}

void MemoryFlags::declare_training(App& app) {
  const char* group = "Training";
  app.add_option("--train", train, "full, lora, qlora or dora.")
      ->type_name("METHOD")
      ->group(group);
  app.add_option("--rank", training.rank, "Of the adapters. Default: 8.")
      ->type_name("N")
      ->group(group);
  app.add_option(
         "--targets",
         targets,
         "Matrices with adapters. Default: q_proj,k_proj,v_proj,o_proj.")
      ->type_name("A,B")
      ->group(group);
  app.add_option(
         "--seq",
         training.sequence_tokens,
         "Tokens of a sample. Default: 512.")
      ->type_name("N")
      ->group(group);
  app.add_option(
         "--train-batch",
         training.batch,
         "Samples of a step. Default: 4.")
      ->type_name("N")
      ->group(group);
  app.add_option(
         "--train-layers",
         training.trained_layers,
         "The last so many layers are trained. Default: all.")
      ->type_name("N")
      ->check(in_range(0, 1 << 30))
      ->group(group);
  app.add_flag(
         "--checkpointing,--checkpoint-layers",
         training.checkpointing,
         "Keep only each layer's input, and compute the rest again.")
      ->group(group);
  app.add_option(
         "--optimizer",
         optimizer,
         "sgd, adamw, adamw8, lion, adafactor or muon. Default: adamw.")
      ->type_name("NAME")
      ->group(group);
  app.add_option(
         "--precision",
         precision,
         "Bits of weights and activations: 16 or 32. A CPU trains in 32. "
         "Default: 16 on a GPU.")
      ->type_name("N")
      ->group(group);
}

void MemoryFlags::declare_questions(App& app) {
  const char* group = "Questions";
  app.add_option(
         "--ram",
         ram,
         "A machine with so much memory, of which macOS leaves 2/3 (over "
         "36GB: 3/4) to the GPU. Without a model: the largest that fit.")
      ->type_name("16GB")
      ->group(group);
  app.add_flag(
         "--fit",
         fit,
         "The settings with which the model fits, best quality first.")
      ->group(group);
  app.add_flag(
         "--measure",
         measure,
         "Run it, and print what was predicted beside what it took; a model "
         "without weights here runs with random ones. A first start, which "
         "packs the weights, takes more.")
      ->group(group);
  app.add_option(
         "--measure-steps",
         measuring.last_steps,
         "Compute only the last N prefill steps; the cache before them is "
         "filled with zeros, which takes the same memory. Default: all.")
      ->type_name("N")
      ->check(in_range(1, 1 << 30))
      ->group(group);
  app.add_flag("--table", table, "Check the guide's tables, row by row.")
      ->group(group);
  app.add_flag(
         "--history",
         history,
         "Recent runs here: what was predicted beside what they took.")
      ->group(group);
  app.add_option(
         "--plot",
         plot,
         "Draw memory over context into an .svg, .png or .html file.")
      ->type_name("FILE")
      ->group("Output");
  app.add_flag("--json", json, "Print one JSON object.")->group("Output");
}

}  // namespace roofline::cli
