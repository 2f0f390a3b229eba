#include "roofline/cli/measure_memory.h"

#include <algorithm>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/base/memory.h"
#include "roofline/base/thread_pool.h"
#include "roofline/cli/command.h"
#include "roofline/cli/output.h"
#include "roofline/plan/roof.h"
#include "roofline/report/progress.h"
#include "roofline/report/table.h"
#include "roofline/weights/checkpoint.h"
#include "roofline/weights/random_checkpoint.h"

namespace roofline::cli {

namespace {

/// The model's files, or random weights of its shape in the format asked for.
struct Subject {
  std::unique_ptr<Checkpoint> checkpoint;
  bool random = false;
};

Subject open_subject(
    const PlannedModel& model,
    const InferenceQuestion& question) {
  if (model.path && model.exact) {
    return {Checkpoint::open(*model.path), false};
  }
  RandomFormat format;
  if (question.quantize && question.quantize->bits < 16) {
    format = {
        question.quantize->bits,
        question.quantize->group_size,
        question.quantize->eight_bit};
  } else if (const auto& stored = model.spec.quantization) {
    format = {stored->bits, stored->group_size, {}};
  }
  return {make_random_checkpoint(model.spec, format, model.name), true};
}

ModelOptions options_of(const InferenceQuestion& question, bool random) {
  ModelOptions options;
  options.device = question.gpu ? DeviceChoice::gpu : DeviceChoice::cpu;
  if (!random && question.quantize) {
    options.quantize = {
        question.quantize->bits,
        question.quantize->group_size,
        question.quantize->eight_bit};
  }
  options.kv = question.kv;
  options.exact = question.kv_float_bits == 32;
  options.cache_packed = !random;
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

std::uint64_t anonymous_bytes() {
  const std::uint64_t resident = resident_bytes();
  const std::uint64_t files = resident_file_bytes();
  return resident > files ? resident - files : 0;
}

/// libraries: pages of files before the weights came. loaded: memory without a
/// file that loading took, such as weights that were packed and not kept on
/// disk.
std::vector<Pair> pairs_of(
    const MemoryPrediction& predicted,
    const MeasuredMemory& measured,
    std::uint64_t libraries,
    std::uint64_t loaded) {
  const std::uint64_t weights = predicted.of("weights");
  const std::uint64_t kv = predicted.of("kv") + predicted.of("state");
  const std::uint64_t rest = predicted.total() - weights - kv;
  const std::uint64_t files = measured.resident_files -
                              std::min(measured.resident_files, libraries) +
                              loaded;
  const std::uint64_t other = measured.peak > files + measured.kv
                                  ? measured.peak - files - measured.kv
                                  : 0;
  return {
      {"weights", weights, files},
      {"KV cache", kv, measured.kv},
      {"prefill, logits, program and tokenizer", rest, other},
      {"peak", predicted.total(), measured.peak}};
}

/// Of a card, whose peak knows neither the program nor freed buffers.
std::vector<Pair> pairs_on_card(
    const MemoryPrediction& predicted,
    const MeasuredMemory& measured) {
  const std::uint64_t weights = predicted.of("weights");
  const std::uint64_t kv = predicted.of("kv") + predicted.of("state");
  const std::uint64_t total =
      predicted.total() - predicted.of("runtime") - predicted.of("cache");
  const std::uint64_t held = measured.loaded + measured.kv;
  return {
      {"weights", weights, measured.loaded},
      {"KV cache", kv, measured.kv},
      {"prefill and logits",
       total - weights - kv,
       measured.peak > held ? measured.peak - held : 0},
      {"peak of the card", total, measured.peak}};
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
  return table_text(table, output_columns());
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

/// With a line on a terminal that says how far it is.
MeasuredMemory measure_shown(
    Decoder& decoder,
    const InferenceQuestion& question,
    MeasureOptions options) {
  Progress progress("Measuring", notice_on_terminal());
  options.progress = [&](double share) { progress.update(share); };
  return measure_memory(decoder, question, options);
}

}  // namespace

int run_measured(
    const PlannedModel& model,
    const InferenceQuestion& question,
    const MeasureOptions& options,
    bool json) {
  InferenceQuestion asked = question;
  asked.threads = ThreadPool::global().threads();
  const std::uint64_t libraries = resident_file_bytes();
  const Subject subject = open_subject(model, asked);
  if (subject.random) {
    asked.constants.tokenizer_per_entry = 0;
  }
  const MemoryPrediction predicted = predict_inference(model, asked);
  const std::uint64_t before = anonymous_bytes();
  const auto decoder =
      Decoder::load(*subject.checkpoint, options_of(asked, subject.random));
  const std::uint64_t after = anonymous_bytes();
  // A run that answers has its tokenizer in memory too.
  const auto tokenizer =
      subject.random ? nullptr : subject.checkpoint->load_tokenizer();
  const MeasuredMemory measured = measure_shown(*decoder, asked, options);
  const auto pairs = computes_on_a_card()
                         ? pairs_on_card(predicted, measured)
                         : pairs_of(
                               predicted,
                               measured,
                               libraries,
                               after > before ? after - before : 0);
  if (json) {
    write_json(
        {{"model", model.name},
         {"weights", subject.checkpoint->format()},
         {"device", decoder->device_name()},
         {"context_tokens", asked.context_tokens},
         {"batch", asked.batch},
         {"parts", json_of(pairs)}});
    return kSuccess;
  }
  write_text(
      fmt::format(
          "{}: {} tokens of context, batch {}, {}, {}\n",
          model.name,
          asked.context_tokens,
          asked.batch,
          subject.checkpoint->format(),
          decoder->device_name()) +
      text_of(pairs));
  return kSuccess;
}

}  // namespace roofline::cli
