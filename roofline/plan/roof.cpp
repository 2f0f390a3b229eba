#include "roofline/plan/roof.h"

#include <algorithm>

#include <fmt/format.h>
#include <mlx/backend/cuda/cuda.h>
#include <mlx/device.h>
#include <mlx/memory.h>

#include "roofline/base/memory.h"

namespace roofline {

namespace {

namespace mx = mlx::core;

std::string seconds_text(double seconds) {
  if (seconds <= 0) {
    return "–";
  }
  return seconds < 1 ? fmt::format("{:.0f} ms", seconds * 1e3)
                     : fmt::format("{:.2f} s", seconds);
}

// Three significant digits are what a run repeats.
std::string speed_text(double tokens_per_second) {
  if (tokens_per_second <= 0) {
    return "–";
  }
  return tokens_per_second < 100
             ? fmt::format("{:.1f} tok/s", tokens_per_second)
             : fmt::format("{:.0f} tok/s", tokens_per_second);
}

std::string bytes_text(double bytes) {
  return bytes < 1e9 ? fmt::format("{:.0f} MB", bytes / 1e6)
                     : fmt::format("{:.2f} GB", bytes / 1e9);
}

}  // namespace

std::size_t kv_bytes_at(
    const ModelSpec& spec,
    std::int64_t depth,
    std::size_t bytes_per_value,
    std::optional<int> max_kv_tokens,
    const KvFormat& format) {
  // States of recurrent layers are read and written.
  std::size_t bytes = 2 * state_bytes(spec);
  for (const LayerSpec& layer : spec.layers) {
    if (layer.attention) {
      bytes += kv_read_bytes(
          *layer.attention,
          format,
          depth,
          max_kv_tokens,
          bytes_per_value);
    }
  }
  return bytes;
}

StepBytes step_bytes(
    const Decoder& decoder,
    std::int64_t depth,
    std::optional<int> max_kv_tokens,
    bool all_logits) {
  const auto cache = decoder.make_cache({});
  const std::size_t bytes_per_value = mx::size_of(cache->options().dtype);
  return {
      decoder.step_weight_bytes(all_logits),
      kv_bytes_at(
          decoder.spec(),
          depth,
          bytes_per_value,
          max_kv_tokens,
          cache->options().format)};
}

double roof_tokens_per_second(const StepBytes& bytes, double bandwidth) {
  return bytes.total() > 0 && bandwidth > 0
             ? bandwidth / static_cast<double>(bytes.total())
             : 0;
}

double TruthLine::roof() const {
  return roof_tokens_per_second(step, bandwidth) * tokens_per_step;
}

std::optional<double> TruthLine::share_of_roof() const {
  if (roof() <= 0 || decode_tokens_per_second <= 0) {
    return std::nullopt;
  }
  return decode_tokens_per_second / roof();
}

std::string TruthLine::text() const {
  std::string line = fmt::format(
      "load {} · first token {} · prefill {} · decode {} · peak {}",
      seconds_text(load_seconds),
      seconds_text(first_token_seconds),
      speed_text(prefill_tokens_per_second),
      speed_text(decode_tokens_per_second),
      bytes_text(static_cast<double>(peak_bytes)));
  if (proposed_tokens > 0) {
    line += fmt::format(
        " · looked up {}, {} right",
        proposed_tokens,
        accepted_tokens - accepted_drafts);
  }
  if (drafted_tokens > 0) {
    line +=
        fmt::format(" · drafted {}, {} right", drafted_tokens, accepted_drafts);
  } else if (has_draft) {
    line += " · drafted 0";
  }
  if (const auto share = share_of_roof()) {
    line += fmt::format(
        " · {:.0f} % of the roof ({} at {:.1f} GB/s)",
        *share * 100,
        speed_text(roof()),
        bandwidth / 1e9);
  } else if (roof() > 0) {
    line += fmt::format(
        " · roof {} ({:.1f} GB/s)",
        speed_text(roof()),
        bandwidth / 1e9);
  }
  if (requantized) {
    line += fmt::format(
        " · {} matrices quantized again, error {:.2g} %",
        requantized->matrices,
        requantized->error * 100);
  }
  return line + " · " + device;
}

nlohmann::ordered_json TruthLine::json() const {
  const auto share = share_of_roof();
  using Json = nlohmann::ordered_json;
  Json json = {
      {"device", device},
      {"load_seconds", load_seconds},
      {"first_token_seconds", first_token_seconds},
      {"prefill_tokens_per_second", prefill_tokens_per_second},
      {"decode_tokens_per_second", decode_tokens_per_second},
      {"peak_memory_bytes", peak_bytes},
      {"step_bytes", step.total()},
      {"read_bandwidth_bytes_per_second", bandwidth},
      {"roof_tokens_per_second", roof()},
      {"share_of_roof", share ? Json(*share) : Json(nullptr)}};
  if (requantized) {
    json["requantized"] = {
        {"matrices", requantized->matrices},
        {"error", requantized->error}};
  }
  if (has_draft || proposed_tokens + drafted_tokens > 0) {
    json["proposed_tokens"] = proposed_tokens;
    json["drafted_tokens"] = drafted_tokens;
    json["accepted_tokens"] = accepted_tokens;
    json["accepted_drafts"] = accepted_drafts;
    json["tokens_per_step"] = tokens_per_step;
  }
  return json;
}

bool computes_on_a_card() {
  return mx::default_device() == mx::Device::gpu && mx::cu::is_available();
}

std::size_t peak_memory_bytes() {
  if (computes_on_a_card()) {
    return mx::get_peak_memory();
  }
  const std::size_t resident = peak_resident_bytes();
  const bool gpu = mx::default_device() == mx::Device::gpu;
  return gpu ? std::max(resident, mx::get_peak_memory()) : resident;
}

TruthLine make_truth_line(
    const Decoder& decoder,
    const GenerateStats& stats,
    double load_seconds,
    std::optional<int> max_kv_tokens) {
  TruthLine line;
  line.peak_bytes = peak_memory_bytes();
  line.load_seconds = load_seconds;
  line.first_token_seconds = stats.first_token_seconds;
  line.prefill_tokens_per_second = stats.prefill_tokens_per_second();
  line.decode_tokens_per_second = stats.decode_tokens_per_second();
  line.step = step_bytes(
      decoder,
      stats.prompt_tokens + stats.generated_tokens / 2,
      max_kv_tokens,
      stats.all_logits);
  line.proposed_tokens = stats.proposed_tokens;
  line.drafted_tokens = stats.drafted_tokens;
  line.accepted_tokens = stats.accepted_tokens;
  line.accepted_drafts = stats.accepted_drafts;
  // The first token came from the prompt's step.
  const int drawn = stats.generated_tokens - 1;
  if (const int steps = drawn - stats.accepted_tokens; steps > 0) {
    line.tokens_per_step = static_cast<double>(drawn) / steps;
  }
  line.device = decoder.device_name();
  return line;
}

}  // namespace roofline
