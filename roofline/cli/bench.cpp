#include <algorithm>

#include <fmt/format.h>
#include <mlx/device.h>
#include <CLI/CLI.hpp>

#include "roofline/base/errors.h"
#include "roofline/base/thread_pool.h"
#include "roofline/cli/bench_answer.h"
#include "roofline/cli/bench_compare.h"
#include "roofline/cli/bench_peers.h"
#include "roofline/cli/bench_report.h"
#include "roofline/cli/bench_room.h"
#include "roofline/cli/bench_rounds.h"
#include "roofline/cli/bench_setup.h"
#include "roofline/cli/command.h"
#include "roofline/cli/option_helpers.h"
#include "roofline/cli/options.h"
#include "roofline/cli/output.h"
#include "roofline/cli/peer_model.h"
#include "roofline/cli/signals.h"
#include "roofline/plan/machine.h"

namespace roofline::cli {

namespace {

class Bench : public Command {
 public:
  void declare(CLI::App& app) override {
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

  int run() override {
    if (!words_.empty()) {
      return run_compare();
    }
    take_settings();
    cases_.prefill_step = prefill_step_.value_or(cases_.prefill_step);
    cases_.rounds = rounds_.value_or(cases_.rounds);
    if (!batches_.empty()) {
      cases_.batches = batches_;
    }
    check_guessing();
    validate(cases_);
    check_names();
    if (worker_) {
      return run_bench_worker(setups().at(0), cases_);
    }
    return run_all();
  }

 private:
  void declare_cases(CLI::App& app) {
    const auto list =
        [&](const char* name, std::vector<int>& values, const char* help) {
          app.add_option(name, values, help)
              ->delimiter(',')
              ->type_name("N,…")
              ->group("Cases");
        };
    app.add_option(
           "words",
           words_,
           "compare A.json B.json: tell two benchmarks apart.")
        ->type_name("compare A B")
        ->expected(0, 3);
    list(
        "-p,--prompt-tokens",
        cases_.prompt_tokens,
        "Tokens of the prompt; 0 leaves prefill out. Default: 512.");
    list(
        "-n,--decode-tokens",
        cases_.decode_tokens,
        "Tokens to decode; 0 leaves decode out. Default: 128.");
    list(
        "-d,--depth",
        cases_.depths,
        "Tokens in the cache before that. Default: 0.");
    list("-b,--batch", batches_, "Sequences in one step. Default: 1.");
    app.add_option(
           "--prefill-step",
           prefill_step_,
           "Tokens of a prompt that run at once. Default: 512.")
        ->type_name("N")
        ->group("Cases");
    app.add_option(
           "--rounds",
           rounds_,
           "Rounds that count. Default: 5, fewer (at least 2) where that takes "
           "over two minutes.")
        ->type_name("N")
        ->group("Cases");
  }

  void declare_setups(CLI::App& app) {
    const char* group = "Configurations";
    app.add_option("--model", model_, "The model. Default: the bundled one.")
        ->type_name("MODEL")
        ->group(group);
    app.add_option(
           "--quant",
           quants_,
           "Quantize while loading: none, int4, int8. Default: none.")
        ->delimiter(',')
        ->type_name("KIND,…")
        ->group(group);
    app.add_option("--group-size", base_.group_size, "32, 64 or 128.")
        ->type_name("N")
        ->group(group);
    app.add_option(
           "--quant-8bit",
           base_.eight_bit,
           "Parts that int4 holds at 8 bits, as for generate.")
        ->type_name("PART,…")
        ->group(group);
    declare_kv(app);
    app.add_option("--threads", threads_, "CPU threads. Default: all cores.")
        ->delimiter(',')
        ->type_name("N,…")
        ->group(group);
    app.add_option("--device", devices_, "auto, cpu, gpu. Default: auto.")
        ->delimiter(',')
        ->type_name("NAME,…")
        ->group(group);
    app.add_flag("--exact", base_.exact, "float32, no approximations.")
        ->group(group);
    app.add_flag("--no-cache", base_.no_cache, "Keep no packed weights.")
        ->group(group);
    app.add_option(
           "--settings",
           settings_,
           "A file that `roofline optimize --out` wrote. Options given here "
           "count more.")
        ->type_name("FILE")
        ->group(group);
    app.add_flag(
           "--compare-cpu",
           compare_cpu_,
           "The GPU against the CPU, beside the factor that is expected of "
           "this chip.")
        ->group(group);
    app.add_option(
           "--vs",
           peers_,
           "Other engines in the same rounds: llama.cpp, mlx-lm.")
        ->delimiter(',')
        ->type_name("NAME,…")
        ->group(group);
    app.add_option(
           "--peer-program",
           peer_programs_,
           "Where llama-bench is, or the Python that has mlx_lm; "
           "mlx-lm=FILE where several peers run. Default: in PATH.")
        ->delimiter(',')
        ->type_name("[PEER=]FILE")
        ->group(group);
    app.add_flag("--worker", worker_)->group("");
    app.add_option("--isa", base_.isa)->group("");
    app.add_option("--cache-limit-bytes", base_.cache_limit_bytes)->group("");
    app.add_option("--wired-limit-bytes", base_.wired_limit_bytes)->group("");
    app.add_option("--preset", base_.sampling.preset)->group("");
    app.add_option("--temp", base_.sampling.temperature)->group("");
    app.add_option("--top-p", base_.sampling.top_p)->group("");
    app.add_option("--min-p", base_.sampling.min_p)->group("");
    app.add_option("--top-k", base_.sampling.top_k)->group("");
    app.add_option("--repeat-penalty", base_.sampling.repetition)->group("");
  }

  void declare_guessing(CLI::App& app) {
    app.add_option(
           "--prompt-file",
           base_.prompt_file,
           "Time answers to this text, greedy ones, rather than synthetic "
           "tokens; -p and -d don't count.")
        ->type_name("FILE")
        ->group("Guessing");
    app.add_option(
           "--prompt-lookup",
           base_.prompt_lookup,
           "Look up at most N of the next tokens, beside the same without it.")
        ->type_name("N")
        ->group("Guessing");
    base_.draft.declare(app);
  }

  // Guessing depends on what is said, and is measured beside plain decoding.
  void check_guessing() {
    const bool guesses =
        base_.prompt_lookup.value_or(0) > 0 || !base_.draft.model.empty();
    (void)base_.guessing();
    if (guesses && base_.prompt_file.empty()) {
      fail<UserError>(
          "Guessing needs a text",
          "What --prompt-lookup and --draft-model gain depends on what is said",
          "Name one with --prompt-file, such as bench/prompts/summary.txt");
    }
    if (!base_.prompt_file.empty() && !worker_) {
      take_text();
    }
  }

  // One prompt of so many tokens, one answer after it.
  void take_text() {
    const PlannedModel model = plan_model(model_);
    const auto one = [](const std::vector<int>& batches) {
      return batches.empty() || batches == std::vector<int>{1};
    };
    if (!model.path || !model.exact || !one(batches_) || !peers_.empty()) {
      fail<UserError>(
          "--prompt-file needs a model that is here, and one answer at a time",
          "",
          "Leave -b and --vs out, and name a model with weights");
    }
    const auto checkpoint = Checkpoint::open(*model.path);
    const auto prompt = encode_prompt_file(
        *checkpoint,
        *checkpoint->load_tokenizer(),
        base_.prompt_file);
    cases_.prompt_tokens = {static_cast<int>(prompt.size())};
    cases_.depths = {0};
  }

  void declare_kv(CLI::App& app) {
    const char* group = "Configurations";
    app.add_option(
           "--kv-bits",
           kv_bits_,
           "Keys and values in codes: 16 (floats), 8, 4. Default: 16.")
        ->delimiter(',')
        ->type_name("N,…")
        ->group(group);
    KvChoice& kv = base_.kv.choice;
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

  void declare_output(CLI::App& app) {
    app.add_flag("--json", json_, "Print one JSON object.")->group("Output");
    app.add_option(
           "--format",
           format_,
           "table, markdown, csv or json. Default: table.")
        ->type_name("NAME")
        ->group("Output");
    app.add_option(
           "-o,--out",
           out_,
           "Write a report too: .md, .csv, .json, .svg, .png or .html. May be "
           "given again.")
        ->type_name("FILE")
        ->take_all()
        ->group("Output");
    app.add_option(
           "--tolerance",
           tolerance_,
           "For compare: smaller changes don't count, in percent. Default: 2.")
        ->type_name("PERCENT")
        ->check(in_range(0.0, 100.0))
        ->group("Output");
  }

  // Before anything is measured.
  void check_cases(const PlannedModel& model) const {
    const auto most = [](const std::vector<int>& values) {
      return values.empty() ? 0
                            : *std::max_element(values.begin(), values.end());
    };
    const std::int64_t tokens =
        std::int64_t{most(cases_.depths)} +
        std::max(most(cases_.prompt_tokens), most(cases_.decode_tokens));
    for (const BenchSetup& setup : setups()) {
      const auto choice = setup.quantize();
      check_room(
          model,
          tokens,
          most(cases_.batches),
          choice ? std::optional(weight_format(*choice)) : std::nullopt,
          fmt::format(
              "Ask for fewer tokens, a smaller batch{} or a smaller model",
              choice ? "" : ", --quant int4"));
    }
  }

  void check_names() const {
    for (const int threads : threads_) {
      check_threads(threads);
    }
    choose("--format", format_, {"table", "markdown", "csv", "json"});
    for (const std::string& device : devices_) {
      choose("--device", device, {"auto", "cpu", "gpu"});
    }
  }

  // The file's first, then what was given beside it.
  void take_settings() {
    if (settings_.empty()) {
      return;
    }
    const RunSettings settings = read_settings(settings_);
    model_ = model_.empty() ? settings.model.value_or("") : model_;
    base_.sampling.fill(settings);
    const bool guesses =
        settings.prompt_lookup.value_or(0) > 0 || settings.draft_model;
    if (!base_.prompt_file.empty()) {
      base_.draft.fill(settings);
      if (!base_.prompt_lookup) {
        base_.prompt_lookup = settings.prompt_lookup;
      }
    } else if (guesses) {
      remarks_.push_back(
          "Guessing of the settings isn't measured here: it needs a text "
          "(--prompt-file).");
    }
    if (settings.max_kv || settings.max_tokens) {
      remarks_.push_back(
          "max_kv and max_tokens of the settings aren't measured: -n and -d "
          "say how long a run is.");
    }
    base_.isa = settings.isa.value_or("");
    base_.cache_limit_bytes = settings.cache_limit_bytes;
    base_.wired_limit_bytes = settings.wired_limit_bytes;
    if (quants_.empty() && settings.quant) {
      quants_ = {*settings.quant};
      base_.group_size = settings.group_size;
      base_.eight_bit = settings.quant_8bit;
    }
    if (kv_bits_.empty() && !base_.kv.choice.any()) {
      base_.kv.choice = settings.kv();
    }
    if (settings.batch && batches_.empty()) {
      batches_ = {*settings.batch};
    }
    if (threads_.empty() && settings.threads) {
      threads_ = {*settings.threads};
    }
    cases_.prefill_step = prefill_step_.value_or(
        settings.prefill_step.value_or(cases_.prefill_step));
  }

  int run_compare() const {
    constexpr std::size_t kWords = 3;
    if (words_.size() != kWords || words_[0] != "compare") {
      fail<UserError>(
          fmt::format("bench doesn't know {}", words_[0]),
          "Only `compare` takes words, and it takes two files",
          "Write `roofline bench compare old.json new.json`");
    }
    return compare_reports(words_[1], words_[2], tolerance_ / 100, json_);
  }

  std::vector<BenchSetup> setups() const {
    std::vector<BenchSetup> out;
    auto devices = devices_;
    if (compare_cpu_) {
      devices = {"cpu"};
      if (mlx::core::is_available(mlx::core::Device::gpu)) {
        devices.insert(devices.begin(), "gpu");
      }
    }
    for (const std::string& device : devices) {
      for (const std::string& quant :
           quants_.empty() ? std::vector<std::string>{"none"} : quants_) {
        for (const KvFlags& kv : kv_formats()) {
          BenchSetup setup = base_;
          setup.model = model_;
          setup.device = device;
          setup.quant = quant;
          setup.kv = kv;
          setup.quantize();  // throws what doesn't go together
          setup.kv.resolve();
          if (threads_.empty()) {
            add_setups(setup, out);
          }
          for (const int threads : threads_) {
            setup.threads = threads;
            add_setups(setup, out);
          }
        }
      }
    }
    return out;
  }

  // Guessing runs beside the same without it.
  void add_setups(const BenchSetup& setup, std::vector<BenchSetup>& out) const {
    const bool looks_up = setup.prompt_lookup.value_or(0) > 0;
    const bool drafts = !setup.draft.model.empty();
    if (worker_ || (!looks_up && !drafts)) {
      out.push_back(setup);
      return;
    }
    BenchSetup other = setup;
    other.prompt_lookup.reset();
    other.draft = {};
    out.push_back(other);
    if (looks_up) {
      other.prompt_lookup = setup.prompt_lookup;
      out.push_back(other);
      other.prompt_lookup.reset();
    }
    if (drafts) {
      other.draft = setup.draft;
      out.push_back(other);
    }
  }

  /// One for each of --kv-bits; groups belong to those that are codes.
  std::vector<KvFlags> kv_formats() const {
    if (kv_bits_.empty()) {
      return {base_.kv};
    }
    std::vector<KvFlags> out;
    for (const int bits : kv_bits_) {
      KvFlags kv = base_.kv;
      kv.choice.bits = bits;
      const bool parts = kv.choice.key_bits || kv.choice.value_bits;
      if (bits == 16 && kv_bits_.size() > 1 && !parts) {
        kv.choice.group_size.reset();
        kv.choice.keep_full.reset();
      }
      out.push_back(std::move(kv));
    }
    return out;
  }

  // "mlx-lm=FILE" is for that peer, "FILE" for every one. Empty: in PATH.
  std::string program_of(const std::string& peer) const {
    std::string found;
    for (const std::string& text : peer_programs_) {
      const std::size_t equals = text.find('=');
      if (equals == std::string::npos) {
        found = text;
      } else if (text.substr(0, equals) == peer) {
        return text.substr(equals + 1);
      }
    }
    return found;
  }

  void start_engines(const PlannedModel& model, const std::atomic<bool>& stop) {
    for (const BenchSetup& setup : setups()) {
      engines_.push_back(std::make_unique<SetupProcess>(setup, cases_));
    }
    for (const std::string& peer : peers_) {
      if (!model.path || !model.exact) {
        fail<UserError>(
            fmt::format("{} can't run {}", peer, model.name),
            "Its weights aren't on this machine",
            "Leave --vs out, or name a model with weights");
      }
      (void)peer_program(peer, program_of(peer));
      peer_models_.push_back(std::make_unique<PeerModel>(
          peer,
          model,
          quants_.empty() ? "none" : quants_.front(),
          stop));
      if (!peer_models_.back()->remark().empty()) {
        remarks_.push_back(peer_models_.back()->remark());
      }
      engines_.push_back(make_peer(
          peer,
          peer_models_.back()->path(),
          threads_.empty() ? 0 : threads_.back(),
          program_of(peer)));
    }
  }

  int run_all() {
    for (const std::string& file : out_) {
      check_report_path(file);
    }
    // A first reading on a busy machine would stay the roof for good.
    with_peak(measure_machine(ThreadPool::default_threads()));
    const PlannedModel model = plan_model(model_);
    check_cases(model);
    BenchReport report;
    report.model = model.name;
    report.before = machine_facts();
    // Peers' models are files of ours: a signal must not leave them.
    const InterruptGuard interrupt;
    try {
      start_engines(model, interrupt.flag());
      report.remarks = remarks_;
      run_rounds(engines_, cases_, !rounds_, report, interrupt.flag());
      fill_roofs(engines_, cases_, model, report);
    } catch (const Error&) {
      // Ctrl-C reaches the processes too: what they say then is no news.
      if (interrupt.signal() == 0) {
        throw;
      }
      return exit_code_of(interrupt.signal());
    }
    if (compare_cpu_) {
      add_factors(report);
    }
    report.after = machine_facts();
    tell(report);
    return interrupt.signal() == 0 ? kSuccess
                                   : exit_code_of(interrupt.signal());
  }

  void tell(const BenchReport& report) const {
    for (const std::string& file : out_) {
      write_report(report, file);
    }
    if (json_ || format_ == "json") {
      write_json(report_json(report));
    } else if (format_ == "markdown") {
      write_output(report_markdown(report));
    } else if (format_ == "csv") {
      write_output(report_csv(report));
    } else {
      write_text(report_text(report));
    }
  }

  std::vector<std::string> words_;
  BenchOptions cases_;
  std::optional<int> rounds_;
  BenchSetup base_;
  std::string model_, format_ = "table";
  std::string settings_;
  std::optional<int> prefill_step_;
  std::vector<std::string> quants_;
  std::vector<std::string> devices_ = {"auto"};
  std::vector<std::string> peers_, peer_programs_, out_, remarks_;
  std::vector<int> batches_, kv_bits_;
  std::vector<int> threads_;
  bool compare_cpu_ = false;
  bool worker_ = false;
  bool json_ = false;
  double tolerance_ = 2;
  BenchEngines engines_;
  std::vector<std::unique_ptr<PeerModel>> peer_models_;
};

}  // namespace

std::unique_ptr<Command> make_bench() {
  return std::make_unique<Bench>();
}

}  // namespace roofline::cli
