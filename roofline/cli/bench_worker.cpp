#include <cstdlib>
#include <iostream>
#include <string>

#include <fmt/format.h>
#include <mlx/device.h>

#include "roofline/base/errors.h"
#include "roofline/base/thread_pool.h"
#include "roofline/cli/bench_answer.h"
#include "roofline/cli/bench_setup.h"
#include "roofline/cli/command.h"
#include "roofline/cli/loaded_model.h"
#include "roofline/cli/options.h"
#include "roofline/cli/output.h"
#include "roofline/cli/startup_trace.h"
#include "roofline/plan/bench_run.h"
#include "roofline/plan/machine.h"
#include "roofline/plan/peak.h"
#include "roofline/plan/roof.h"
#include "roofline/weights/checkpoint.h"
#include "roofline/weights/random_checkpoint.h"

namespace roofline::cli {

namespace {

using Json = nlohmann::ordered_json;

struct Loaded {
  std::unique_ptr<Checkpoint> checkpoint;
  std::unique_ptr<Decoder> decoder;
  bool random = false;
};

// A name without weights gets random ones: speed and memory don't depend on
// their values.
Loaded load(const BenchSetup& setup) {
  DeviceFlags device;
  device.device = setup.device;
  device.threads = setup.threads;
  device.exact = setup.exact;
  device.no_cache = setup.no_cache;
  ModelOptions options = device.resolve();
  options.quantize = setup.quantize();
  options.kv = setup.kv.resolve();
  const PlannedModel planned = plan_model(setup.model);
  Loaded out;
  if (planned.path && planned.exact) {
    out.checkpoint = Checkpoint::open(*planned.path);
  } else {
    RandomFormat format;
    if (options.quantize) {
      format = random_format(*options.quantize);
      options.quantize.reset();
    } else if (const auto& stored = planned.spec.quantization) {
      format = {stored->bits, stored->group_size, {}};
    }
    out.random = true;
    options.cache_packed = false;
    out.checkpoint = make_random_checkpoint(planned.spec, format);
  }
  out.decoder = Decoder::load(*out.checkpoint, options);
  return out;
}

// Codes are multiplied as 8-bit integers, all else as floats.
double peak_of(const Checkpoint& checkpoint, const BenchSetup& setup) {
  if (mlx::core::default_device() == mlx::core::Device::gpu) {
    return measure_gpu_peak_operations();
  }
  std::size_t codes = 0;
  std::size_t floats = 0;
  for (const Tensor& tensor : checkpoint.tensors()) {
    const bool plain = tensor.encoding == Encoding::f32 ||
                       tensor.encoding == Encoding::f16 ||
                       tensor.encoding == Encoding::bf16;
    (plain ? floats : codes) += tensor.total_bytes();
  }
  const bool coded = !setup.exact && (setup.quant != "none" || codes > floats);
  return measure_peak_operations(
      ThreadPool::global(),
      setup.exact ? PeakKind::float32 : product_peak(coded));
}

void send(const Json& json) {
  write_output(fmt::format("{}\n", json.dump()));
}

Json sample_json(const BenchSample& sample, std::size_t peak_bytes) {
  return {
      {"seconds", sample.seconds},
      {"host_seconds", sample.host_seconds},
      {"joules", sample.joules ? Json(*sample.joules) : Json(nullptr)},
      {"peak_bytes", peak_bytes}};
}

}  // namespace

int run_bench_worker(const BenchSetup& setup, const BenchOptions& options) {
  if (!setup.isa.empty()) {
    setenv("ROOFLINE_ISA", setup.isa.c_str(), 1);
  }
  RunSettings limits;
  limits.cache_limit_bytes = setup.cache_limit_bytes;
  limits.wired_limit_bytes = setup.wired_limit_bytes;
  apply_memory_limits(limits);
  const Loaded model = load(setup);
  Loaded draft;
  if (!setup.draft.model.empty()) {
    BenchSetup other = setup;
    other.model = setup.draft.model;
    other.quant = "none";
    other.group_size.reset();
    other.eight_bit.reset();
    other.kv = {};
    other.exact = false;
    draft = load(other);
  }
  const double load_seconds = process_seconds();
  const auto cases = bench_cases(options);
  BenchRun run(*model.decoder, options.prefill_step, setup.drawn());
  std::optional<BenchAnswers> answers;
  if (!setup.prompt_file.empty()) {
    answers.emplace(
        *model.decoder,
        *model.checkpoint,
        setup.prompt_file,
        options.prefill_step,
        setup.guessing(),
        setup.drawn());
    if (draft.decoder) {
      answers->set_draft(*draft.decoder, *draft.checkpoint);
    }
  }
  Json first_token = nullptr;
  int prompt = 0;
  for (const BenchCase& what : cases) {
    if (what.phase == BenchPhase::prefill && !model.random && !answers) {
      run.measure({BenchPhase::prefill, what.tokens, 0, 1});
      first_token = process_seconds();
      prompt = what.tokens;
      break;
    }
  }
  // Read before the bandwidth is measured, which takes memory too.
  const std::size_t peak_before = peak_memory_bytes();
  const double bandwidth = current_profile().read_bandwidth;
  const bool on_cpu = mlx::core::default_device() == mlx::core::Device::cpu;
  send(
      {{"device", model.decoder->device_name()},
       {"cpu_threads",
        on_cpu ? Json(ThreadPool::global().threads()) : Json(nullptr)},
       {"load_seconds", load_seconds},
       {"first_token_seconds", first_token},
       {"first_prompt_tokens", prompt},
       {"random_weights", model.random},
       {"bytes_per_second", bandwidth},
       {"operations_per_second", peak_of(*model.checkpoint, setup)},
       {"step_weight_bytes",
        model.decoder->step_weight_bytes(run.all_logits())},
       {"batch_weight_bytes", model.decoder->step_weight_bytes()}});
  const std::size_t peak_of_measuring = peak_memory_bytes();
  const auto peak = [&] {
    const std::size_t now = peak_memory_bytes();
    return now > peak_of_measuring ? now : peak_before;
  };
  for (std::string line; std::getline(std::cin, line) && line != "end";) {
    const BenchCase& what = cases.at(std::stoul(line));
    const BenchSample sample =
        answers ? answers->measure(what) : run.measure(what);
    send(sample_json(sample, peak()));
  }
  send({{"peak_bytes", peak()}});
  return kSuccess;
}

}  // namespace roofline::cli
