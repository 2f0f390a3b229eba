#include <algorithm>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/base/thread_pool.h"
#include "roofline/cli/app.h"
#include "roofline/cli/bench_answer.h"
#include "roofline/cli/bench_compare.h"
#include "roofline/cli/bench_flags.h"
#include "roofline/cli/bench_peers.h"
#include "roofline/cli/bench_report.h"
#include "roofline/cli/bench_room.h"
#include "roofline/cli/bench_rounds.h"
#include "roofline/cli/command.h"
#include "roofline/cli/output.h"
#include "roofline/cli/peer_model.h"
#include "roofline/cli/signals.h"
#include "roofline/plan/machine.h"

namespace roofline::cli {

namespace {

class Bench : public Command {
 public:
  void declare(App& app) override { flags_.declare(app); }

  int run() override {
    if (!flags_.words.empty()) {
      return run_compare();
    }
    remarks_ = flags_.resolve();
    check_guessing();
    validate(flags_.cases);
    flags_.check_names();
    if (flags_.worker) {
      return run_bench_worker(flags_.setups().at(0), flags_.cases);
    }
    return run_all();
  }

 private:
  // Guessing depends on what is said, and is measured beside plain decoding.
  void check_guessing() {
    const bool guesses = flags_.base.prompt_lookup.value_or(0) > 0 ||
                         !flags_.base.draft.model.empty();
    (void)flags_.base.guessing();
    if (guesses && flags_.base.prompt_file.empty()) {
      fail<UserError>(
          "Guessing needs a text",
          "What --prompt-lookup and --draft-model gain depends on what is said",
          "Name one with --prompt-file, such as bench/prompts/summary.txt");
    }
    if (!flags_.base.prompt_file.empty() && !flags_.worker) {
      take_text();
    }
  }

  // One prompt of so many tokens, one answer after it.
  void take_text() {
    const PlannedModel model = plan_model(flags_.model);
    const auto one = [](const std::vector<int>& batches) {
      return batches.empty() || batches == std::vector<int>{1};
    };
    if (!model.path || !model.exact || !one(flags_.batches) ||
        !flags_.peers.empty()) {
      fail<UserError>(
          "--prompt-file needs a model that is here, and one answer at a time",
          "",
          "Leave -b and --vs out, and name a model with weights");
    }
    const auto checkpoint = Checkpoint::open(*model.path);
    const auto prompt = encode_prompt_file(
        *checkpoint,
        *checkpoint->load_tokenizer(),
        flags_.base.prompt_file);
    flags_.cases.prompt_tokens = {static_cast<int>(prompt.size())};
    flags_.cases.depths = {0};
  }

  // Before anything is measured.
  void check_cases(const PlannedModel& model) const {
    const auto most = [](const std::vector<int>& values) {
      return values.empty() ? 0
                            : *std::max_element(values.begin(), values.end());
    };
    const std::int64_t tokens = std::int64_t{most(flags_.cases.depths)} +
                                std::max(
                                    most(flags_.cases.prompt_tokens),
                                    most(flags_.cases.decode_tokens));
    for (const BenchSetup& setup : flags_.setups()) {
      const auto choice = setup.quantize();
      check_room(
          model,
          tokens,
          most(flags_.cases.batches),
          choice ? std::optional(weight_format(*choice)) : std::nullopt,
          fmt::format(
              "Ask for fewer tokens, a smaller batch{} or a smaller model",
              choice ? "" : ", --quant int4"));
    }
  }

  int run_compare() const {
    constexpr std::size_t kWords = 3;
    if (flags_.words.size() != kWords || flags_.words[0] != "compare") {
      fail<UserError>(
          fmt::format("bench doesn't know {}", flags_.words[0]),
          "Only `compare` takes words, and it takes two files",
          "Write `roofline bench compare old.json new.json`");
    }
    return compare_reports(
        flags_.words[1],
        flags_.words[2],
        flags_.tolerance / 100,
        flags_.json);
  }

  void start_engines(const PlannedModel& model, const std::atomic<bool>& stop) {
    for (const BenchSetup& setup : flags_.setups()) {
      engines_.push_back(std::make_unique<SetupProcess>(setup, flags_.cases));
    }
    const auto choice = flags_.setups().front().quantize();
    for (const std::string& peer : flags_.peers) {
      if (!model.path || !model.exact) {
        fail<UserError>(
            fmt::format("{} can't run {}", peer, model.name),
            "Its weights aren't on this machine",
            "Leave --vs out, or name a model with weights");
      }
      (void)peer_program(peer, flags_.program_of(peer));
      peer_models_.push_back(
          std::make_unique<PeerModel>(peer, model, choice, stop));
      if (!peer_models_.back()->remark().empty()) {
        remarks_.push_back(peer_models_.back()->remark());
      }
      engines_.push_back(make_peer(
          peer,
          peer_models_.back()->path(),
          flags_.threads.empty() ? 0 : flags_.threads.back(),
          flags_.program_of(peer)));
    }
  }

  int run_all() {
    for (const std::string& file : flags_.reports) {
      check_report_path(file);
    }
    // A first reading on a busy machine would stay the roof for good.
    with_peak(measure_machine(ThreadPool::default_threads()));
    const PlannedModel model = plan_model(flags_.model);
    check_cases(model);
    BenchReport report;
    report.model = model.name;
    report.before = machine_facts();
    // Peers' models are files of ours: a signal must not leave them.
    const InterruptGuard interrupt;
    try {
      start_engines(model, interrupt.flag());
      report.remarks = remarks_;
      run_rounds(
          engines_,
          flags_.cases,
          !flags_.rounds,
          report,
          interrupt.flag());
      fill_roofs(engines_, flags_.cases, model, report);
    } catch (const Error&) {
      // Ctrl-C reaches the processes too: what they say then is no news.
      if (interrupt.signal() == 0) {
        throw;
      }
      return exit_code_of(interrupt.signal());
    }
    if (flags_.compare_cpu) {
      add_factors(report);
    }
    report.after = machine_facts();
    tell(report);
    return interrupt.signal() == 0 ? kSuccess
                                   : exit_code_of(interrupt.signal());
  }

  void tell(const BenchReport& report) const {
    for (const std::string& file : flags_.reports) {
      write_report(report, file);
    }
    if (flags_.json || flags_.format == "json") {
      write_json(report_json(report));
    } else if (flags_.format == "markdown") {
      write_output(report_markdown(report));
    } else if (flags_.format == "csv") {
      write_output(report_csv(report));
    } else {
      write_text(report_text(report));
    }
  }

  BenchFlags flags_;
  std::vector<std::string> remarks_;
  BenchEngines engines_;
  std::vector<std::unique_ptr<PeerModel>> peer_models_;
};

}  // namespace

std::unique_ptr<Command> make_bench() {
  return std::make_unique<Bench>();
}

}  // namespace roofline::cli
