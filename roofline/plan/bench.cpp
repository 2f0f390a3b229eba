#include "roofline/plan/bench.h"

#include <algorithm>
#include <chrono>
#include <cstdint>

#include <fmt/format.h>
#include <mlx/device.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include "roofline/base/errors.h"
#include "roofline/decode/vector_math.h"
#include "roofline/model/session.h"

namespace roofline {

namespace {

namespace mx = mlx::core;
using Clock = std::chrono::steady_clock;
using Json = nlohmann::ordered_json;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Ids all over the vocabulary, the same in every run: successive multiples of a
// large prime.
std::vector<std::int32_t> synthetic_ids(int count, int vocab) {
  std::vector<std::int32_t> ids(count);
  for (int i = 0; i < count; ++i) {
    ids[i] = static_cast<std::int32_t>((i + 1) * std::int64_t{7919} % vocab);
  }
  return ids;
}

// Where the logits are: on a GPU one number is fetched, not the row.
std::int32_t likeliest(mx::array logits) {
  if (mx::default_device() == mx::Device::gpu) {
    return static_cast<std::int32_t>(
        mx::argmax(mx::reshape(logits, {-1})).item<std::uint32_t>());
  }
  logits.eval();
  return static_cast<std::int32_t>(
      argmax_of({logits.data<float>(), logits.size()}));
}

KvOptions cache_options(const BenchOptions& options) {
  KvOptions cache;
  cache.max_chunk = options.prefill_chunk;
  return cache;
}

double prefill_speed(Decoder& decoder, const BenchOptions& options) {
  const auto ids = synthetic_ids(options.prompt_tokens, decoder.spec().vocab);
  Session session(decoder, cache_options(options));
  const auto start = Clock::now();
  mx::eval(*session.extend(ids));
  return options.prompt_tokens / seconds_since(start);
}

double decode_speed(Decoder& decoder, const BenchOptions& options) {
  const auto first = synthetic_ids(1, decoder.spec().vocab);
  Session session(decoder, cache_options(options));
  std::int32_t token = first[0];
  const auto start = Clock::now();
  for (int i = 0; i < options.decode_tokens; ++i) {
    token = likeliest(*session.extend({&token, 1}));
  }
  return options.decode_tokens / seconds_since(start);
}

Json series_json(const BenchSeries& series) {
  return {
      {"median", series.median()},
      {"min", series.smallest()},
      {"max", series.largest()},
      {"samples", series.samples}};
}

std::string series_text(const BenchSeries& series) {
  return fmt::format(
      "{:8.1f} tok/s  ({:.1f} to {:.1f} in {} rounds)",
      series.median(),
      series.smallest(),
      series.largest(),
      series.samples.size());
}

void require(bool sound, std::string_view what, std::string_view why) {
  if (!sound) {
    fail<UserError>(what, why, "Give another value or leave the option out");
  }
}

}  // namespace

void validate(const BenchOptions& options) {
  require(
      options.prompt_tokens >= 0,
      fmt::format("The prompt has {} tokens", options.prompt_tokens),
      "It must have at least 0");
  require(
      options.decode_tokens >= 0,
      fmt::format("{} tokens are to be decoded", options.decode_tokens),
      "It must be at least 0");
  require(
      options.rounds >= 1,
      fmt::format("There are {} rounds", options.rounds),
      "There must be at least 1");
  require(
      options.prefill_chunk >= 1,
      fmt::format("A chunk has {} tokens", options.prefill_chunk),
      "It must have at least 1");
}

double BenchSeries::median() const {
  if (samples.empty()) {
    return 0;
  }
  std::vector<double> sorted = samples;
  std::sort(sorted.begin(), sorted.end());
  const std::size_t middle = sorted.size() / 2;
  return sorted.size() % 2 == 1 ? sorted[middle]
                                : (sorted[middle - 1] + sorted[middle]) / 2;
}

double BenchSeries::smallest() const {
  return samples.empty() ? 0
                         : *std::min_element(samples.begin(), samples.end());
}

double BenchSeries::largest() const {
  return samples.empty() ? 0
                         : *std::max_element(samples.begin(), samples.end());
}

double BenchResult::roof() const {
  return roof_tokens_per_second(step, bandwidth);
}

std::optional<double> BenchResult::share_of_roof() const {
  if (roof() <= 0 || decode.samples.empty()) {
    return std::nullopt;
  }
  return decode.median() / roof();
}

std::string BenchResult::text() const {
  std::string text = device + "\n";
  if (!prefill.samples.empty()) {
    text += fmt::format(
        "prefill {:5} tokens  {}\n",
        options.prompt_tokens,
        series_text(prefill));
  }
  if (!decode.samples.empty()) {
    text += fmt::format(
        "decode  {:5} tokens  {}\n",
        options.decode_tokens,
        series_text(decode));
  }
  if (const auto share = share_of_roof()) {
    text += fmt::format(
        "decode at {:.0f} % of the roof: {:.1f} tok/s, {:.1f} MB a token at "
        "{:.1f} GB/s\n",
        *share * 100,
        roof(),
        static_cast<double>(step.total()) / 1e6,
        bandwidth / 1e9);
  }
  return text + fmt::format("peak memory {:.0f} MB\n", peak_bytes / 1e6);
}

Json BenchResult::json() const {
  const auto share = share_of_roof();
  return {
      {"device", device},
      {"prompt_tokens", options.prompt_tokens},
      {"decode_tokens", options.decode_tokens},
      {"rounds", std::max(prefill.samples.size(), decode.samples.size())},
      {"prefill_tokens_per_second", prefill.median()},
      {"decode_tokens_per_second", decode.median()},
      {"prefill", series_json(prefill)},
      {"decode", series_json(decode)},
      {"peak_memory_bytes", peak_bytes},
      {"step_bytes", step.total()},
      {"read_bandwidth_bytes_per_second", bandwidth},
      {"roof_tokens_per_second", roof()},
      {"share_of_roof", share ? Json(*share) : Json(nullptr)}};
}

BenchResult run_bench(
    Decoder& decoder,
    const BenchOptions& options,
    const MachineProfile& profile,
    const std::function<bool()>& between) {
  validate(options);
  BenchResult result;
  result.options = options;
  result.bandwidth = profile.read_bandwidth;
  result.device = decoder.device_name();
  result.step = step_bytes(decoder, options.decode_tokens / 2);
  // Round 0 warms up: pages come in, kernels are compiled, threads start.
  for (int round = 0; round <= options.rounds; ++round) {
    if (between && between()) {
      break;
    }
    if (options.prompt_tokens > 0) {
      const double speed = prefill_speed(decoder, options);
      if (round > 0) {
        result.prefill.samples.push_back(speed);
      }
    }
    if (options.decode_tokens > 0) {
      const double speed = decode_speed(decoder, options);
      if (round > 0) {
        result.decode.samples.push_back(speed);
      }
    }
  }
  result.peak_bytes = peak_memory_bytes();
  return result;
}

}  // namespace roofline
