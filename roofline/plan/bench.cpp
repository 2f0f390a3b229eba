#include "roofline/plan/bench.h"

#include <algorithm>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/base/statistics.h"

namespace roofline {

namespace {

using Json = nlohmann::ordered_json;

void require(bool sound, std::string_view what, std::string_view why) {
  if (!sound) {
    fail<UserError>(what, why, "Give another value or leave the option out");
  }
}

void require_all(
    const std::vector<int>& values,
    int least,
    std::string_view what) {
  require(
      !values.empty(),
      fmt::format("{}: there is no number", what),
      "There must be at least one");
  for (const int value : values) {
    require(
        value >= least,
        fmt::format("{} is {}", what, value),
        fmt::format("It must be at least {}", least));
  }
}

std::vector<double> seconds_of(const BenchFigure& figure) {
  std::vector<double> seconds;
  for (const BenchSample& sample : figure.samples) {
    seconds.push_back(sample.seconds);
  }
  return seconds;
}

std::optional<double> median_of_present(
    const std::vector<BenchSample>& samples,
    std::optional<double> BenchSample::*part) {
  std::vector<double> values;
  for (const BenchSample& sample : samples) {
    if (sample.*part) {
      values.push_back(*(sample.*part));
    }
  }
  return values.empty() ? std::nullopt : std::optional(median_of(values));
}

// The longer of moving and computing.
double least_seconds(const PhaseWork& work, const BenchRates& rates) {
  const double moving =
      rates.bytes_per_second > 0 ? work.bytes / rates.bytes_per_second : 0;
  const double computing = rates.operations_per_second > 0
                               ? work.operations / rates.operations_per_second
                               : 0;
  return std::max(moving, computing);
}

Json optional_json(const std::optional<double>& value) {
  return value ? Json(*value) : Json(nullptr);
}

}  // namespace

void validate(const BenchOptions& options) {
  require_all(options.prompt_tokens, 0, "-p, the tokens of a prompt,");
  require_all(options.decode_tokens, 0, "-n, the tokens to decode,");
  require_all(options.depths, 0, "-d, the depth,");
  require_all(options.batches, 1, "-b, the batch,");
  require(
      options.rounds >= 1,
      fmt::format("There are {} rounds", options.rounds),
      "There must be at least 1");
  require(
      options.prefill_step >= 1,
      fmt::format("A prefill step has {} tokens", options.prefill_step),
      "It must have at least 1");
  require(
      !bench_cases(options).empty(),
      "There is nothing to measure",
      "-p and -n are both 0");
}

std::vector<BenchCase> bench_cases(const BenchOptions& options) {
  std::vector<BenchCase> cases;
  const auto add = [&](BenchPhase phase, int tokens, int depth, int batch) {
    if (tokens > 0) {
      cases.push_back({phase, tokens, depth, batch});
    }
  };
  for (const int batch : options.batches) {
    for (const int depth : options.depths) {
      for (const int tokens : options.prompt_tokens) {
        add(BenchPhase::prefill, tokens, depth, batch);
      }
      for (const int tokens : options.decode_tokens) {
        add(BenchPhase::decode, tokens, depth, batch);
      }
    }
  }
  return cases;
}

std::string BenchCase::name() const {
  std::string name =
      fmt::format("{}{}", phase == BenchPhase::prefill ? "pp" : "tg", tokens);
  if (depth > 0) {
    name += fmt::format(" @ {}", depth);
  }
  if (batch > 1) {
    name += fmt::format(" × {}", batch);
  }
  return name;
}

std::vector<double> BenchFigure::speeds() const {
  std::vector<double> speeds;
  for (const BenchSample& sample : samples) {
    if (sample.seconds > 0) {
      speeds.push_back(static_cast<double>(what.all_tokens()) / sample.seconds);
    }
  }
  return speeds;
}

double BenchFigure::speed() const {
  return median_of(speeds());
}

double BenchFigure::slow_tail() const {
  constexpr double kTail = 0.05;
  return quantile_of(speeds(), kTail);
}

double BenchFigure::spread() const {
  return relative_spread(speeds());
}

std::optional<double> BenchFigure::roof() const {
  if (roof_seconds <= 0) {
    return std::nullopt;
  }
  return static_cast<double>(what.all_tokens()) / roof_seconds;
}

std::optional<double> BenchFigure::share_of_roof() const {
  const auto most = roof();
  return most && !samples.empty() ? std::optional(speed() / *most)
                                  : std::nullopt;
}

std::optional<double> BenchFigure::share_of_roof_beside() const {
  if (roof_seconds_beside <= 0 || samples.empty()) {
    return std::nullopt;
  }
  return speed() * roof_seconds_beside / static_cast<double>(what.all_tokens());
}

std::optional<double> BenchFigure::bandwidth_beside() const {
  return median_of_present(samples, &BenchSample::bytes_per_second);
}

std::optional<double> BenchFigure::joules_per_token() const {
  const auto joules = median_of_present(samples, &BenchSample::joules);
  return joules
             ? std::optional(*joules / static_cast<double>(what.all_tokens()))
             : std::nullopt;
}

double BenchFigure::warm_up_seconds() const {
  return samples.empty()
             ? 0
             : std::max(0.0, first_seconds - median_of(seconds_of(*this)));
}

void set_roof(
    BenchFigure& figure,
    const PlannedModel& model,
    const BenchRates& rates,
    int prefill_step,
    const KvFormat& kv) {
  const BenchCase& what = figure.what;
  std::int64_t steps = what.tokens;
  if (what.phase == BenchPhase::prefill) {
    steps = (what.tokens + prefill_step - 1) / prefill_step;
    figure.work = prefill_work(
        model,
        what.tokens,
        prefill_step,
        what.depth,
        what.batch,
        kv);
  } else {
    // A step in the middle stands for all: KV grows by the same each step.
    figure.work =
        decode_work(model, what.depth + what.tokens / 2, what.batch, kv);
    figure.work.kv_bytes *= what.tokens;
    figure.work.operations *= what.tokens;
  }
  const bool alone = what.phase == BenchPhase::decode && what.batch == 1;
  figure.work.bytes =
      figure.work.kv_bytes +
      static_cast<double>(steps) *
          (alone ? rates.step_weight_bytes : rates.batch_weight_bytes);
  figure.roof_seconds = least_seconds(figure.work, rates);
  if (const auto beside = figure.bandwidth_beside()) {
    BenchRates now = rates;
    now.bytes_per_second = *beside;
    figure.roof_seconds_beside = least_seconds(figure.work, now);
  }
}

TimeShares time_shares(const BenchFigure& figure, const BenchRates& rates) {
  const double seconds = median_of(seconds_of(figure));
  TimeShares shares;
  if (seconds <= 0 || figure.roof_seconds <= 0 || rates.bytes_per_second <= 0) {
    return shares;
  }
  const PhaseWork& work = figure.work;
  const double total = rates.bytes_per_second * seconds;
  std::vector<double> host;
  for (const BenchSample& sample : figure.samples) {
    host.push_back(sample.host_seconds);
  }
  shares.kv = work.kv_bytes / total;
  shares.weights = (work.bytes - work.kv_bytes) / total;
  shares.arithmetic =
      std::max(0.0, figure.roof_seconds / seconds - shares.kv - shares.weights);
  shares.host = median_of(host) / seconds;
  shares.rest = std::max(
      0.0,
      1 - shares.weights - shares.kv - shares.arithmetic - shares.host);
  return shares;
}

Json figure_json(const BenchFigure& figure, const BenchRates& rates) {
  const TimeShares shares = time_shares(figure, rates);
  return {
      {"engine", figure.engine},
      {"setup", figure.setup},
      {"phase",
       figure.what.phase == BenchPhase::prefill ? "prefill" : "decode"},
      {"tokens", figure.what.tokens},
      {"depth", figure.what.depth},
      {"batch", figure.what.batch},
      {"tokens_per_second", figure.speed()},
      {"p95_slowest_tokens_per_second", figure.slow_tail()},
      {"spread", figure.spread()},
      {"samples", figure.speeds()},
      {"warm_up_seconds", figure.warm_up_seconds()},
      {"joules_per_token", optional_json(figure.joules_per_token())},
      {"bytes", figure.work.bytes},
      {"kv_bytes", figure.work.kv_bytes},
      {"operations", figure.work.operations},
      {"roof_tokens_per_second", optional_json(figure.roof())},
      {"share_of_roof", optional_json(figure.share_of_roof())},
      {"bandwidth_beside_bytes_per_second",
       optional_json(figure.bandwidth_beside())},
      {"share_of_roof_beside", optional_json(figure.share_of_roof_beside())},
      {"time_shares",
       {{"weights", shares.weights},
        {"kv", shares.kv},
        {"arithmetic", shares.arithmetic},
        {"host", shares.host},
        {"rest", shares.rest}}}};
}

BenchFigure figure_from_json(const Json& json) {
  try {
    BenchFigure figure;
    figure.engine = json.at("engine").get<std::string>();
    figure.setup = json.at("setup").get<std::string>();
    figure.what.phase = json.at("phase") == "prefill" ? BenchPhase::prefill
                                                      : BenchPhase::decode;
    figure.what.tokens = json.at("tokens").get<int>();
    figure.what.depth = json.at("depth").get<std::int64_t>();
    figure.what.batch = json.at("batch").get<int>();
    const auto tokens = static_cast<double>(figure.what.all_tokens());
    for (const double speed : json.at("samples").get<std::vector<double>>()) {
      if (speed > 0) {
        figure.samples.push_back({tokens / speed, 0, std::nullopt});
      }
    }
    return figure;
  } catch (const Json::exception& error) {
    fail<UserError>(
        "A figure of a benchmark can't be read",
        error.what(),
        "Name a file that roofline bench --out FILE.json wrote");
  }
}

}  // namespace roofline
