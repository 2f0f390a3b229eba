#include "roofline/cli/measure_memory.h"

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/base/thread_pool.h"
#include "roofline/cli/command.h"
#include "roofline/cli/output.h"
#include "roofline/plan/measure.h"
#include "roofline/report/table.h"
#include "roofline/weights/checkpoint.h"

namespace roofline::cli {

namespace {

void require_measurable(
    const PlannedModel& model,
    const InferenceQuestion& question) {
  if (!model.path || !model.exact) {
    fail<UserError>(
        fmt::format("{} can't be measured", model.name),
        "Its weights aren't on this machine",
        "Name a GGUF file or a folder with weights");
  }
  if (question.kv_bits != 16) {
    fail<UserError>(
        fmt::format(
            "A KV cache in {} bits can't be measured",
            question.kv_bits),
        "It runs in 16 bits",
        "Leave --kv-bits out");
  }
}

/// What the decoder says of itself where the question leaves it open.
ModelOptions options_of(const InferenceQuestion& question) {
  ModelOptions options;
  options.device = question.gpu ? DeviceChoice::gpu : DeviceChoice::cpu;
  if (question.quantize) {
    options.quantize = {question.quantize->bits, question.quantize->group_size};
  }
  return options;
}

struct Pair {
  const char* part;
  std::uint64_t predicted;
  std::uint64_t measured;

  double error() const {
    return measured == 0 ? 0
                         : static_cast<double>(predicted) /
                                   static_cast<double>(measured) -
                               1;
  }
};

std::vector<Pair> pairs_of(
    const MemoryPrediction& predicted,
    const MeasuredMemory& measured) {
  const std::uint64_t weights = predicted.of("weights");
  const std::uint64_t kv = predicted.of("kv");
  const std::uint64_t rest = predicted.total() - weights - kv;
  const std::uint64_t files = measured.resident_files;
  const std::uint64_t other = measured.peak > files + measured.kv
                                  ? measured.peak - files - measured.kv
                                  : 0;
  return {
      {"weights (measured: mapped files, libraries included)", weights, files},
      {"KV cache", kv, measured.kv},
      {"prefill, logits, program and tokenizer", rest, other},
      {"peak", predicted.total(), measured.peak}};
}

std::string text_of(const std::vector<Pair>& pairs) {
  Table table{
      {{"Part"},
       {"Predicted", Align::right},
       {"Measured", Align::right},
       {"Error", Align::right}},
      {}};
  for (const Pair& pair : pairs) {
    table.rows.push_back(
        {pair.part,
         format_bytes(static_cast<double>(pair.predicted)),
         format_bytes(static_cast<double>(pair.measured)),
         fmt::format("{:+.1f} %", pair.error() * 100)});
  }
  return table_text(table);
}

nlohmann::ordered_json json_of(const std::vector<Pair>& pairs) {
  auto out = nlohmann::ordered_json::array();
  for (const Pair& pair : pairs) {
    out.push_back(
        {{"part", pair.part},
         {"predicted_bytes", pair.predicted},
         {"measured_bytes", pair.measured},
         {"error", pair.error()}});
  }
  return out;
}

}  // namespace

int run_measured(
    const PlannedModel& model,
    const InferenceQuestion& question,
    bool json) {
  require_measurable(model, question);
  InferenceQuestion asked = question;
  asked.threads = ThreadPool::global().threads();
  const MemoryPrediction predicted = predict_inference(model, asked);
  const auto checkpoint = Checkpoint::open(*model.path);
  const auto decoder = Decoder::load(*checkpoint, options_of(asked));
  // A run that answers has its tokenizer in memory too.
  const auto tokenizer = checkpoint->load_tokenizer();
  const auto pairs = pairs_of(predicted, measure_memory(*decoder, asked));
  if (json) {
    write_json(
        {{"model", model.name},
         {"context_tokens", asked.context_tokens},
         {"batch", asked.batch},
         {"parts", json_of(pairs)}});
    return kSuccess;
  }
  write_output(
      fmt::format(
          "{}: {} tokens of context, batch {}, {}\n",
          model.name,
          asked.context_tokens,
          asked.batch,
          decoder->device_name()) +
      text_of(pairs));
  return kSuccess;
}

}  // namespace roofline::cli
