#include "roofline/cli/keep_answer.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <ctime>

#include <mlx/device.h>

#include "roofline/base/core_count.h"
#include "roofline/base/cpu_features.h"
#include "roofline/base/paths.h"
#include "roofline/base/thread_pool.h"
#include "roofline/cli/options.h"
#include "roofline/cli/run_history.h"
#include "roofline/plan/history.h"
#include "roofline/plan/machine.h"
#include "roofline/plan/roof.h"
#include "roofline/plan/speed.h"

namespace roofline::cli {

namespace {

InferenceQuestion question_of(
    const LoadedModel& loaded,
    const GenerateStats& stats,
    const GenerateOptions& options,
    bool gpu) {
  InferenceQuestion question;
  question.context_tokens =
      std::max(1, stats.prompt_tokens + stats.generated_tokens);
  if (options.max_kv_tokens) {
    question.context_tokens =
        std::min<std::int64_t>(question.context_tokens, *options.max_kv_tokens);
  }
  question.prefill_step =
      std::clamp(stats.prompt_tokens, 1, options.prefill_chunk);
  question.gpu = gpu;
  question.card = computes_on_a_card();
  question.kv = loaded.options().kv;
  question.kv_float_bits = loaded.options().exact ? 32 : 16;
  question.threads = ThreadPool::global().threads();
  if (const auto& choice = loaded.options().quantize) {
    question.quantize = weight_format(*choice);
  }
  return question;
}

/// Operations a second of the path that runs most of the weights; 0: not
/// measured yet.
double operations_for(
    const MachineProfile& machine,
    const PlannedModel& model) {
  std::uint64_t coded = 0;
  for (const ModelTensor& tensor : model.tensors) {
    coded += tensor.quantized ? tensor.bytes : 0;
  }
  return 2 * coded > model.weight_bytes() ? machine.code_operations
                                          : machine.float_operations;
}

/// As every command would predict it: calibrated by the runs before.
void predict(
    RunRecord& run,
    const LoadedModel& loaded,
    InferenceQuestion question) {
  const PlannedModel stored = plan_model(loaded.checkpoint().path().string());
  const auto calibration =
      question.gpu ? std::nullopt : calibration_here(run.model);
  if (calibration) {
    question.constants = calibration->constants;
  }
  const MemoryPrediction memory = predict_inference(stored, question);
  run.predicted_peak_bytes = static_cast<std::int64_t>(memory.total());
  run.assumed_runtime_bytes =
      static_cast<std::int64_t>(question.constants.runtime_bytes);
  // A GPU's is kept under its own name, and isn't measured for this.
  const auto profile = question.gpu ? std::optional<MachineProfile>()
                                    : load_machine_profile(run.threads);
  if (profile) {
    const PlannedModel model =
        question.quantize ? quantized(stored, *question.quantize) : stored;
    question.quantize.reset();
    MachineRates rates;
    rates.bytes_per_second = profile->read_bandwidth;
    rates.operations_per_second = operations_for(*profile, model);
    if (calibration) {
      calibration->apply(rates);
    }
    const SpeedPrediction speed =
        predict_speed(model, question, run.prompt_tokens, rates);
    run.decode_roof = speed.decode_roof;
    run.predicted_decode = speed.decode;
    run.prefill_roof = speed.prefill_roof;
    run.predicted_prefill = speed.prefill;
  }
}

void keep(
    const LoadedModel& loaded,
    const GenerateStats& stats,
    const GenerateOptions& options) {
  const bool gpu = mlx::core::default_device() == mlx::core::Device::gpu;
  RunRecord run;
  run.measured_peak_bytes = static_cast<std::int64_t>(peak_memory_bytes());
  run.unix_seconds = std::time(nullptr);
  run.version = ROOFLINE_VERSION;
  run.host = host_name();
  run.processor = cpu_name();
  run.device = loaded.decoder().device_name();
  run.isa = isa_name(active_isa());
  run.threads = ThreadPool::global().threads();
  // More threads than cores wait for each other.
  run.waited_share = run.threads <= usable_cores() ? waited_share() : 0;
  run.model = loaded.checkpoint().path().filename().string();
  run.model_key = loaded.checkpoint().fingerprint();
  run.prompt_tokens = stats.prompt_tokens;
  run.cached_tokens = stats.cached_tokens;
  run.generated_tokens = stats.generated_tokens;
  // With tokens looked up, it isn't one step a token.
  run.measured_decode =
      options.prompt_lookup > 0 ? 0 : stats.decode_tokens_per_second();
  run.measured_prefill = stats.prefill_tokens_per_second();
  const InferenceQuestion question = question_of(loaded, stats, options, gpu);
  run.quant = question.quantize ? question.quantize->text() : "as stored";
  predict(run, loaded, question);
  keep_run(run);
}

}  // namespace

void keep_answer(
    const LoadedModel& loaded,
    const GenerateStats& stats,
    const GenerateOptions& options) noexcept {
  try {
    // A draft model's memory isn't the model's.
    const bool ordinary = stats.prefill_seconds > 0 &&
                          !loaded.options().exact &&
                          options.num_draft_tokens == 0;
    if (ordinary && environment("ROOFLINE_HISTORY") != "off") {
      keep(loaded, stats, options);
    }
  } catch (...) {
    // A pair less; the answer stands.
  }
}

}  // namespace roofline::cli
