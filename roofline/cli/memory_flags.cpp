#include "roofline/cli/memory_flags.h"

#include <CLI/CLI.hpp>

namespace roofline::cli {

void MemoryFlags::declare(CLI::App& app) {
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

void MemoryFlags::declare_run(CLI::App& app) {
  const char* group = "Inference";
  quant.declare(app);
  app.add_option(
         "--context",
         context,
         "Tokens of the sequence, or max: the most that fit. Default: 4096.")
      ->type_name("N|max")
      ->group(group);
  app.add_option("--batch", run.batch, "Sequences at once. Default: 1.")
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
}

void MemoryFlags::declare_training(CLI::App& app) {
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
      ->check(CLI::NonNegativeNumber)
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

void MemoryFlags::declare_questions(CLI::App& app) {
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
      ->check(CLI::PositiveNumber)
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
