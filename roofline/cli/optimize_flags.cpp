#include "roofline/cli/optimize_flags.h"

#include "roofline/cli/app.h"

namespace roofline::cli {

void OptimizeFlags::declare(App& app) {
  declare_search(app);
  declare_output(app);
}

void OptimizeFlags::declare_search(App& app) {
  app.add_option(
         "MODEL,--model",
         model,
         "A file, a folder or a name of the catalogue. Default: the bundled "
         "model.")
      ->type_name("MODEL")
      ->group("Model");
  app.add_option("--device", device, "auto, cpu or gpu. Default: auto.")
      ->type_name("NAME")
      ->group("Model");
  const char* group = "Search";
  app.add_flag(
         "--optimize-quant",
         quant,
         "Only how weights are stored. With --optimize-params: both, as "
         "without either.")
      ->group(group);
  app.add_flag(
         "--optimize-params",
         params,
         "Only how the model is run: threads, instruction set, prefill "
         "step, MLX's cache.")
      ->group(group);
  app.add_option("--goal", goal, "speed, memory or quality. Default: speed.")
      ->type_name("NAME")
      ->group(group);
  app.add_option(
         "--max-memory",
         max_memory,
         "Take no more than this, such as 4GB. Default: what the system can "
         "spare.")
      ->type_name("SIZE")
      ->group(group);
  app.add_option(
         "--min-quality",
         min_quality,
         "The least that may be left of the quality, above 0 and up to 1. "
         "Default: 0.95.")
      ->type_name("SHARE")
      ->group(group);
  app.add_option("--budget", budget_seconds, "Seconds to spend. Default: 60.")
      ->type_name("SECONDS")
      ->group(group);
  app.add_option(
         "-p,--prompt-tokens",
         work.prompt_tokens,
         "What is timed: a prompt of so many tokens. Default: 256.")
      ->type_name("N")
      ->group(group);
  app.add_option(
         "-n,--decode-tokens",
         work.decode_tokens,
         "And an answer of so many. Default: 128.")
      ->type_name("N")
      ->group(group);
  app.add_option(
         "--prompt-file",
         prompt_file,
         "Time answers to this text instead: then prompt lookup is searched "
         "too, which gains where an answer repeats its prompt.")
      ->type_name("FILE")
      ->group(group);
  app.add_option(
         "--draft-model",
         draft_model,
         "Search too whether this smaller model should guess what comes next, "
         "and how far. Only with --prompt-file.")
      ->type_name("MODEL")
      ->group(group);
  app.add_option(
         "--preset",
         sampling.preset,
         "Draw tokens as this preset does (see `roofline presets`); what "
         "quicker ways to draw would save is told. Default: as `generate` "
         "does without options.")
      ->type_name("NAME")
      ->group(group);
  app.add_option(
         "--answers",
         work.answers,
         "So many answers are wanted; how many run at once is searched. "
         "Default: 1.")
      ->type_name("N")
      ->group(group);
}

void OptimizeFlags::declare_output(App& app) {
  const char* group = "Output";
  app.add_option(
         "-o,--out",
         out,
         "Write the chosen settings to a TOML file, which --settings of "
         "generate, chat and bench takes.")
      ->type_name("FILE")
      ->group(group);
  app.add_flag(
         "--apply",
         apply,
         "Make them this model's default on this machine.")
      ->group(group);
  app.add_option("--plot", plot, "Draw time over memory: .svg, .png or .html.")
      ->type_name("FILE")
      ->group(group);
  app.add_flag("--json", json, "Print one JSON object.")->group(group);
}

}  // namespace roofline::cli
