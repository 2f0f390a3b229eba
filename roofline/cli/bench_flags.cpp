#include "roofline/cli/bench_flags.h"

#include <filesystem>
#include <system_error>

#include <fmt/format.h>
#include <mlx/device.h>

#include "roofline/base/errors.h"
#include "roofline/cli/bench_room.h"
#include "roofline/cli/option_helpers.h"
#include "roofline/cli/options.h"

namespace roofline::cli {

void BenchFlags::declare(App& app) {
  declare_cases(app);
  declare_setups(app);
  declare_guessing(app);
  declare_output(app);
  app.footer(
      "Every configuration runs in a process of its own; all take turns in "
      "every\n"
      "round, after one that isn't counted. The roof is what the measured "
      "bandwidth\n"
      "and arithmetic of this machine allow. A model without weights here "
      "runs with\n"
      "random ones.\n"
      "\n"
      "Examples\n"
      "    roofline bench\n"
      "    roofline bench --model m.gguf -p 512,2048 -n 128 -d 0,4096\n"
      "    roofline bench --model llama-2-7b --quant int4\n"
      "    roofline bench --threads 1,2 --out report.html --out new.json\n"
      "    roofline bench --vs llama.cpp\n"
      "    roofline bench compare old.json new.json");
}

void BenchFlags::declare_cases(App& app) {
  const auto list =
      [&](const char* name, std::vector<int>& values, const char* help) {
        app.add_list(name, values, help)->type_name("N,…")->group("Cases");
      };
  app.add_option(
         "words",
         words,
         "compare A.json B.json: tell two benchmarks apart.")
      ->type_name("compare A B")
      ->expected(0, 3);
  list(
      "-p,--prompt-tokens",
      cases.prompt_tokens,
      "Tokens of the prompt; 0 leaves prefill out. Default: 512.");
  list(
      "-n,--decode-tokens",
      cases.decode_tokens,
      "Tokens to decode; 0 leaves decode out. Default: 128.");
  list(
      "-d,--depth",
      cases.depths,
      "Tokens in the cache before that. Default: 0.");
  list("-b,--batch", batches, "Sequences in one step. Default: 1.");
  app.add_option(
         "--prefill-step",
         prefill_step,
         "Tokens of a prompt that run at once. Default: 512.")
      ->type_name("N")
      ->group("Cases");
  app.add_option(
         "--rounds",
         rounds,
         "Rounds that count. Default: 5, fewer (at least 2) where that takes "
         "over two minutes.")
      ->type_name("N")
      ->group("Cases");
}

void BenchFlags::declare_setups(App& app) {
  const char* group = "Configurations";
  app.add_option("--model", model, "The model. Default: the bundled one.")
      ->type_name("MODEL")
      ->group(group);
  app.add_list(
         "--quant",
         quants,
         "Quantize while loading: none, int4, int8. Default: none.")
      ->type_name("KIND,…")
      ->group(group);
  app.add_option("--group-size", base.group_size, "32, 64 or 128.")
      ->type_name("N")
      ->group(group);
  app.add_option(
         "--quant-8bit",
         base.eight_bit,
         "Parts that int4 holds at 8 bits, as for generate.")
      ->type_name("PART,…")
      ->group(group);
  declare_kv(app);
  app.add_list("--threads", threads, "CPU threads. Default: all cores.")
      ->type_name("N,…")
      ->group(group);
  app.add_list("--device", devices, "auto, cpu, gpu. Default: auto.")
      ->type_name("NAME,…")
      ->group(group);
  app.add_flag("--exact", base.exact, "float32, no approximations.")
      ->group(group);
  app.add_flag("--no-cache", base.no_cache, "Keep no packed weights.")
      ->group(group);
  app.add_option(
         "--settings",
         settings,
         "A file that `roofline optimize --out` wrote. Options given here "
         "count more.")
      ->type_name("FILE")
      ->group(group);
  app.add_flag(
         "--compare-cpu",
         compare_cpu,
         "The GPU against the CPU, beside the factor that is expected of "
         "this chip.")
      ->group(group);
  app.add_list(
         "--vs",
         peers,
         "Other engines in the same rounds: llama.cpp, mlx-lm.")
      ->type_name("NAME,…")
      ->group(group);
  app.add_list(
         "--peer-program",
         peer_programs,
         "Where llama-bench is, or the Python that has mlx_lm; "
         "mlx-lm=FILE where several peers run. Default: in PATH.")
      ->type_name("[PEER=]FILE")
      ->group(group);
  declare_hidden(app);
}

// For the processes that bench starts.
void BenchFlags::declare_hidden(App& app) {
  app.add_flag("--worker", worker)->group("");
  app.add_option("--isa", base.isa)->group("");
  app.add_option("--cache-limit-bytes", base.cache_limit_bytes)->group("");
  app.add_option("--wired-limit-bytes", base.wired_limit_bytes)->group("");
  app.add_option("--preset", base.sampling.preset)->group("");
  app.add_option("--temp", base.sampling.temperature)->group("");
  app.add_option("--top-p", base.sampling.top_p)->group("");
  app.add_option("--min-p", base.sampling.min_p)->group("");
  app.add_option("--top-k", base.sampling.top_k)->group("");
  app.add_option("--repeat-penalty", base.sampling.repetition)->group("");
}

void BenchFlags::declare_guessing(App& app) {
  app.add_option(
         "--prompt-file",
         base.prompt_file,
         "Time answers to this text, greedy ones, rather than synthetic "
         "tokens; -p and -d don't count.")
      ->type_name("FILE")
      ->group("Guessing");
  app.add_option(
         "--prompt-lookup",
         base.prompt_lookup,
         "Look up at most N of the next tokens, beside the same without it.")
      ->type_name("N")
      ->group("Guessing");
  base.draft.declare(app);
}

void BenchFlags::declare_kv(App& app) {
  const char* group = "Configurations";
  app.add_list(
         "--kv-bits",
         kv_bits,
         "Keys and values in codes: 16 (floats), 8, 4. Beside others 16 stays "
         "as it is, whatever the next options say. Default: 16.")
      ->type_name("N,…")
      ->group(group);
  KvChoice& kv = base.kv.choice;
  app.add_option("--k-bits", kv.key_bits, "The same of keys alone.")
      ->type_name("N")
      ->group(group);
  app.add_option("--v-bits", kv.value_bits, "The same of values alone.")
      ->type_name("N")
      ->group(group);
  app.add_option("--kv-group-size", kv.group_size, "32 or 64. Default: 64.")
      ->type_name("N")
      ->group(group);
  app.add_option(
         "--kv-keep-full",
         kv.keep_full,
         "The first N tokens as floats. Default: 0.")
      ->type_name("N")
      ->group(group);
}

void BenchFlags::declare_output(App& app) {
  app.add_flag("--json", json, "Print one JSON object.")->group("Output");
  app.add_option(
         "--format",
         format,
         "table, markdown, csv or json. Default: table.")
      ->type_name("NAME")
      ->group("Output");
  app.add_option(
         "-o,--out",
         reports,
         "Write a report too: .md, .csv, .json, .svg, .png or .html. May be "
         "given again.")
      ->type_name("FILE")
      ->take_all()
      ->group("Output");
  app.add_option(
         "--tolerance",
         tolerance,
         "For compare: smaller changes don't count, in percent. Default: 2.")
      ->type_name("PERCENT")
      ->check(in_range(0.0, 100.0))
      ->group("Output");
}

void BenchFlags::check_names() const {
  for (const int count : threads) {
    check_threads(count);
  }
  choose("--format", format, {"table", "markdown", "csv", "json"});
  for (const std::string& device : devices) {
    choose("--device", device, {"auto", "cpu", "gpu"});
  }
}

std::vector<std::string> BenchFlags::resolve() {
  std::vector<std::string> remarks;
  if (!settings.empty()) {
    remarks = take_settings();
  }
  cases.prefill_step = prefill_step.value_or(cases.prefill_step);
  cases.rounds = rounds.value_or(cases.rounds);
  if (!batches.empty()) {
    cases.batches = batches;
  }
  if (quants.empty()) {
    quants = {"none"};
  }
  return remarks;
}

/// What the file says and no flag did.
std::vector<std::string> BenchFlags::take_settings() {
  std::vector<std::string> remarks;
  const RunSettings given = read_settings(settings);
  model = model.empty() ? given.model.value_or("") : model;
  base.sampling.fill(given);
  const bool guesses = given.prompt_lookup.value_or(0) > 0 || given.draft_model;
  if (!base.prompt_file.empty()) {
    base.draft.fill(given);
    if (!base.prompt_lookup) {
      base.prompt_lookup = given.prompt_lookup;
    }
  } else if (guesses) {
    remarks.push_back(
        "Guessing of the settings isn't measured here: it needs a text "
        "(--prompt-file).");
  }
  if (given.max_kv || given.max_tokens) {
    remarks.push_back(
        "max_kv and max_tokens of the settings aren't measured: -n and -d "
        "say how long a run is.");
  }
  base.isa = given.isa.value_or("");
  base.cache_limit_bytes = given.cache_limit_bytes;
  base.wired_limit_bytes = given.wired_limit_bytes;
  if (quants.empty() && given.quant) {
    quants = {*given.quant};
    base.group_size = given.group_size;
    base.eight_bit = given.quant_8bit;
  }
  if (kv_bits.empty() && !base.kv.choice.any()) {
    base.kv.choice = given.kv();
  }
  if (given.batch && batches.empty()) {
    batches = {*given.batch};
  }
  if (threads.empty() && given.threads) {
    threads = {*given.threads};
  }
  cases.prefill_step = given.prefill_step.value_or(cases.prefill_step);
  return remarks;
}

std::vector<std::string> BenchFlags::compared_devices() const {
  if (!compare_cpu) {
    return devices;
  }
  if (mlx::core::is_available(mlx::core::Device::gpu)) {
    return {"gpu", "cpu"};
  }
  return {"cpu"};
}

std::vector<BenchSetup> BenchFlags::setups() const {
  std::vector<BenchSetup> all;
  BenchSetup setup = base;
  setup.model = model;
  for (const std::string& device : compared_devices()) {
    setup.device = device;
    for (const std::string& quant : quants) {
      setup.quant = quant;
      setup.quantize();  // throws what doesn't go together
      for (const KvFlags& kv : kv_formats()) {
        setup.kv = kv;
        setup.kv.resolve();
        if (threads.empty()) {
          add_setups(setup, all);
        }
        for (const int count : threads) {
          setup.threads = count;
          add_setups(setup, all);
        }
      }
    }
  }
  return all;
}

// Guessing runs beside the same without it.
void BenchFlags::add_setups(
    const BenchSetup& setup,
    std::vector<BenchSetup>& all) const {
  const bool looks_up = setup.prompt_lookup.value_or(0) > 0;
  const bool drafts = !setup.draft.model.empty();
  if (worker || (!looks_up && !drafts)) {
    all.push_back(setup);
    return;
  }
  BenchSetup other = setup;
  other.prompt_lookup.reset();
  other.draft = {};
  all.push_back(other);
  if (looks_up) {
    other.prompt_lookup = setup.prompt_lookup;
    all.push_back(other);
    other.prompt_lookup.reset();
  }
  if (drafts) {
    other.draft = setup.draft;
    all.push_back(other);
  }
}

/// One for each of --kv-bits. Beside others 16 is floats: what else was asked
/// for belongs to those.
std::vector<KvFlags> BenchFlags::kv_formats() const {
  if (kv_bits.empty()) {
    return {base.kv};
  }
  std::vector<KvFlags> formats;
  for (const int bits : kv_bits) {
    KvFlags kv = base.kv;
    kv.choice.bits = bits;
    if (bits == 16 && kv_bits.size() > 1) {
      kv.choice = {};
      kv.choice.bits = bits;
    }
    formats.push_back(std::move(kv));
  }
  return formats;
}

// "mlx-lm=FILE" is for that peer, "FILE" for the only one, and a folder for
// every one. Empty: in PATH.
std::string BenchFlags::program_of(const std::string& peer) const {
  std::string found;
  for (const std::string& text : peer_programs) {
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos) {
      std::error_code error;
      if (peers.size() > 1 && !std::filesystem::is_directory(text, error)) {
        fail<UserError>(
            fmt::format("--peer-program {} doesn't say whose it is", text),
            "There are several peers",
            fmt::format("Write --peer-program {}={}", peer, text));
      }
      found = text;
    } else if (text.substr(0, equals) == peer) {
      return text.substr(equals + 1);
    }
  }
  return found;
}

}  // namespace roofline::cli
