#include "roofline/plan/bench.h"

#include <CLI/CLI.hpp>

#include "roofline/cli/command.h"
#include "roofline/cli/options.h"
#include "roofline/cli/output.h"
#include "roofline/cli/signals.h"
#include "roofline/plan/machine.h"
#include "roofline/weights/checkpoint.h"

namespace roofline::cli {

namespace {

class Bench : public Command {
 public:
  void declare(CLI::App& app) override {
    const char* group = "Measurement";
    app.add_option("--model", model_, "The model. Default: the bundled one.")
        ->type_name("MODEL")
        ->group(group);
    app.add_option(
           "-p,--prompt-tokens",
           bench_.prompt_tokens,
           "Tokens of the prompt; 0 leaves prefill out. Default: 512.")
        ->type_name("N")
        ->group(group);
    app.add_option(
           "-n,--decode-tokens",
           bench_.decode_tokens,
           "Tokens to decode; 0 leaves decode out. Default: 128.")
        ->type_name("N")
        ->group(group);
    app.add_option(
           "--rounds",
           bench_.rounds,
           "Rounds after the warm-up; medians are told. Default: 5.")
        ->type_name("N")
        ->group(group);
    quant_.declare(app);
    device_.declare(app);
    app.add_flag("--json", json_, "Print one JSON object.")->group("Output");
    app.footer(
        "Prefill and decode take turns in every round. The share of the roof "
        "is decode\n"
        "speed over measured bandwidth / bytes that a token must move.\n"
        "\n"
        "Examples\n"
        "    roofline bench\n"
        "    roofline bench --model model.gguf -p 2048 -n 64 --threads 4 "
        "--json");
  }

  int run() override {
    validate(bench_);
    ModelOptions options = device_.resolve();
    options.quantize = quant_.resolve();
    const auto checkpoint = Checkpoint::open(resolve_model(model_));
    const auto decoder = Decoder::load(*checkpoint, options);
    // Before the rounds, and not beside them: both want all of the memory's
    // bandwidth.
    const MachineProfile profile = current_profile();
    const InterruptGuard interrupt;
    const BenchResult result = run_bench(*decoder, bench_, profile, [&] {
      return interrupt.flag().load();
    });
    if (json_) {
      nlohmann::ordered_json out = {{"model", checkpoint->path().string()}};
      out.update(result.json());
      write_json(out);
    } else {
      write_output(result.text());
    }
    return interrupt.signal() == 0 ? kSuccess
                                   : exit_code_of(interrupt.signal());
  }

 private:
  std::string model_;
  BenchOptions bench_;
  QuantFlags quant_;
  DeviceFlags device_;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> make_bench() {
  return std::make_unique<Bench>();
}

}  // namespace roofline::cli
