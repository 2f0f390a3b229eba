#include <algorithm>
#include <map>

#include <fmt/format.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>
#include <unistd.h>
#include <CLI/CLI.hpp>

#include "roofline/base/atomic_file.h"
#include "roofline/base/errors.h"
#include "roofline/cli/command.h"
#include "roofline/cli/options.h"
#include "roofline/cli/output.h"
#include "roofline/decode/chat.h"
#include "roofline/model/session.h"
#include "roofline/plan/trace.h"
#include "roofline/report/table.h"
#include "roofline/report/timeline.h"
#include "roofline/weights/checkpoint.h"

namespace roofline::cli {

namespace {

namespace mx = mlx::core;

constexpr std::size_t kChunk = 512;

void write_file(const std::string& path, const std::string& text) {
  AtomicFile file(path);
  std::size_t done = 0;
  while (file.is_open() && done < text.size()) {
    const auto count =
        ::write(file.fd(), text.data() + done, text.size() - done);
    if (count <= 0) {
      break;
    }
    done += static_cast<std::size_t>(count);
  }
  if (!file.is_open() || done < text.size() || !file.publish()) {
    fail<UserError>(
        path + " can't be written",
        file.error(),
        "Name another place");
  }
}

std::int32_t likeliest(const mx::array& logits) {
  return static_cast<std::int32_t>(
      mx::argmax(mx::reshape(logits, {-1})).item<std::uint32_t>());
}

/// Runs the prompt and `count` greedy steps, one span each.
void run_traced(
    Decoder& decoder,
    const std::vector<std::int32_t>& prompt,
    int count) {
  KvOptions cache;
  cache.max_chunk = kChunk;
  Session session(decoder, cache);
  std::int32_t token = 0;
  for (std::size_t at = 0; at < prompt.size(); at += kChunk) {
    const double start = trace_seconds();
    const std::size_t size = std::min(kChunk, prompt.size() - at);
    token = likeliest(*session.extend({prompt.data() + at, size}));
    trace_span("prefill", start);
  }
  for (int i = 0; i < count; ++i) {
    const double start = trace_seconds();
    token = likeliest(*session.extend({&token, 1}));
    trace_span("decode", start);
  }
}

std::string summary(const MemoryTrace& trace) {
  struct Phase {
    double seconds = 0;
    int count = 0;
  };
  std::map<std::string, Phase> phases;
  double total = 0;
  for (const TraceSpan& span : trace.spans) {
    phases[span.name].seconds += span.seconds;
    ++phases[span.name].count;
    total += span.seconds;
  }
  Table table{
      {{"phase"},
       {"time", Align::right},
       {"share", Align::right},
       {"count", Align::right}},
      {}};
  for (const auto& [name, phase] : phases) {
    table.rows.push_back(
        {name,
         fmt::format("{:.1f} ms", 1e3 * phase.seconds),
         fmt::format("{:.1f} %", 100 * phase.seconds / total),
         std::to_string(phase.count)});
  }
  MemorySample peak;
  for (const MemorySample& sample : trace.samples) {
    peak.resident_bytes = std::max(peak.resident_bytes, sample.resident_bytes);
    peak.mlx_active_bytes =
        std::max(peak.mlx_active_bytes, sample.mlx_active_bytes);
    peak.mlx_cache_bytes =
        std::max(peak.mlx_cache_bytes, sample.mlx_cache_bytes);
  }
  return table_text(table) +
         fmt::format(
             "\npeak memory: {} resident; MLX {} active, {} cached\n",
             format_bytes(static_cast<double>(peak.resident_bytes)),
             format_bytes(static_cast<double>(peak.mlx_active_bytes)),
             format_bytes(static_cast<double>(peak.mlx_cache_bytes)));
}

class Profile : public Command {
 public:
  void declare(CLI::App& app) override {
    app.add_option("prompt", prompt_, "The text to continue, greedily.")
        ->required()
        ->type_name("PROMPT");
    app.add_option("--model", model_, "The model. Default: the bundled one.")
        ->type_name("MODEL")
        ->group("Run");
    app.add_option("-n", count_, "Tokens to decode. Default: 64.")
        ->check(CLI::Range(1, 1000000))
        ->type_name("N")
        ->group("Run");
    device_.declare(app);
    app.add_option("--out", out_, "Write the trace, for Perfetto.")
        ->type_name("FILE")
        ->group("Output");
    app.add_option("--html", html_, "Write a page with the timeline.")
        ->type_name("FILE")
        ->group("Output");
    app.footer(
        "Examples\n"
        "    roofline profile \"Once upon a time\" -n 32 --out trace.json\n"
        "    roofline profile --model model.gguf \"Hi\" --html page.html");
  }

  int run() override {
    const ModelOptions options = device_.resolve();
    enable_memory_trace();
    const auto checkpoint = Checkpoint::open(resolve_model(model_));
    trace_span("load: open", 0);
    double start = trace_seconds();
    const auto tokenizer = checkpoint->load_tokenizer();
    const auto prompt = encode_prompt(*tokenizer, prompt_);
    trace_span("load: tokenizer", start);
    start = trace_seconds();
    const auto decoder = Decoder::load(*checkpoint, options);
    trace_span("load: weights", start);
    run_traced(*decoder, prompt, count_);
    const MemoryTrace trace = get_memory_trace();
    const std::string json = trace_json(trace);
    if (!out_.empty()) {
      write_file(out_, json);
    }
    if (!html_.empty()) {
      write_file(html_, timeline_html("Profile", json));
    }
    write_output(summary(trace));
    return kSuccess;
  }

 private:
  std::string prompt_, model_, out_, html_;
  int count_ = 64;
  DeviceFlags device_;
};

}  // namespace

std::unique_ptr<Command> make_profile() {
  return std::make_unique<Profile>();
}

}  // namespace roofline::cli
