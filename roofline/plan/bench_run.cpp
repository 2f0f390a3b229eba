#include "roofline/plan/bench_run.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <span>

#include <mlx/device.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include "roofline/base/clock.h"
#include "roofline/decode/vector_math.h"

namespace roofline {

namespace {

namespace mx = mlx::core;

constexpr std::int64_t kPrime = 7919;
constexpr double kMicro = 1e-6;

// Ids all over the vocabulary, the same in every run: successive multiples of a
// prime.
std::vector<std::int32_t> synthetic_ids(int count, int vocab) {
  std::vector<std::int32_t> ids(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) {
    ids[static_cast<std::size_t>(i)] =
        static_cast<std::int32_t>((i + 1) * kPrime % vocab);
  }
  return ids;
}

// One id a row. Where the logits are: on a GPU one number a row is fetched.
std::vector<std::int32_t> likeliest(mx::array logits, std::size_t rows) {
  std::vector<std::int32_t> ids(rows);
  if (mx::default_device() == mx::Device::gpu) {
    mx::array best = mx::argmax(logits, -1);
    best.eval();
    for (std::size_t row = 0; row < rows; ++row) {
      ids[row] = static_cast<std::int32_t>(best.data<std::uint32_t>()[row]);
    }
    return ids;
  }
  const std::size_t vocab = logits.size() / rows;
  for (std::size_t row = 0; row < rows; ++row) {
    ids[row] = static_cast<std::int32_t>(
        argmax_of({logits.data<float>() + row * vocab, vocab}));
  }
  return ids;
}

std::optional<double> number_in(const std::filesystem::path& file) {
  std::ifstream in(file);
  double value = 0;
  return in >> value ? std::optional(value) : std::nullopt;
}

}  // namespace

BenchRun::BenchRun(
    Decoder& decoder,
    int prefill_step,
    const std::optional<SamplingOptions>& sampling)
    : decoder_(decoder), prefill_step_(prefill_step), sampling_(sampling) {
  if (sampling_ && !sampling_->seed) {
    sampling_->seed = 1;  // every run draws the same
  }
}

BenchRun::~BenchRun() = default;

bool BenchRun::all_logits() const {
  return sampling_ && deciding_logits(*sampling_, 0, {}).all();
}

DecidingLogits BenchRun::deciding(std::size_t row) const {
  return sampling_ ? samplers_[row].deciding_logits(0) : DecidingLogits{1};
}

std::vector<std::int32_t> BenchRun::next_of(const mx::array& logits) {
  if (!sampling_) {
    return likeliest(logits, caches_.size());
  }
  // A sampler changes the row that it draws from.
  const std::size_t vocab = logits.size() / caches_.size();
  std::vector<std::int32_t> ids;
  for (std::size_t row = 0; row < caches_.size(); ++row) {
    const float* begin = logits.data<float>() + row * vocab;
    std::vector<float> own(begin, begin + vocab);
    ids.push_back(samplers_[row].sample(own, drawn_[row]).token);
    drawn_[row].push_back(ids.back());
  }
  return ids;
}

void BenchRun::prefill(int tokens) {
  const auto ids = synthetic_ids(tokens, decoder_.spec().vocab);
  for (int at = 0; at < tokens; at += prefill_step_) {
    const int count = std::min(prefill_step_, tokens - at);
    std::vector<Slice> slices;
    for (const auto& cache : caches_) {
      slices.push_back(
          {cache.get(),
           std::span(ids).subspan(
               static_cast<std::size_t>(at),
               static_cast<std::size_t>(count)),
           LogitRows::last});
    }
    mx::array logits = decoder_.forward(slices);
    logits.eval();
    if (at + count == tokens) {
      next_ = next_of(logits);
    }
  }
}

void BenchRun::prepare(const BenchCase& what) {
  const bool reusable =
      caches_.size() == static_cast<std::size_t>(what.batch) &&
      std::all_of(caches_.begin(), caches_.end(), [&](const auto& cache) {
        return cache->position() >= what.depth &&
               cache->can_truncate(what.depth);
      });
  next_.assign(static_cast<std::size_t>(what.batch), 1);
  samplers_.clear();
  for (int i = 0; sampling_ && i < what.batch; ++i) {
    samplers_.emplace_back(*sampling_, std::vector<std::int32_t>());
  }
  drawn_.assign(static_cast<std::size_t>(what.batch), {});
  if (reusable) {
    for (const auto& cache : caches_) {
      cache->truncate(what.depth);
    }
    return;
  }
  caches_.clear();
  KvOptions options;
  options.max_chunk = prefill_step_;
  for (int i = 0; i < what.batch; ++i) {
    caches_.push_back(decoder_.make_cache(options));
  }
  prefill(static_cast<int>(what.depth));
}

// Returns the seconds between the steps.
double BenchRun::decode(int tokens) {
  double host_seconds = 0;
  for (int i = 0; i < tokens; ++i) {
    std::vector<Slice> slices;
    for (std::size_t row = 0; row < caches_.size(); ++row) {
      slices.push_back(
          {caches_[row].get(),
           {&next_[row], 1},
           LogitRows::last,
           {},
           deciding(row)});
    }
    mx::array logits = decoder_.forward(slices);
    logits.eval();
    const auto done = Clock::now();
    next_ = next_of(logits);
    host_seconds += seconds_since(done);
  }
  return host_seconds;
}

// As an answer on a GPU: a step begins before the host has seen the token that
// it starts from.
void BenchRun::decode_on_device(int tokens) {
  const int rows = static_cast<int>(caches_.size());
  mx::array next(next_.data(), {rows});
  for (int i = 0; i < tokens; ++i) {
    std::vector<Slice> slices;
    for (int row = 0; row < rows; ++row) {
      slices.push_back(
          {caches_[row].get(),
           {&next_[row], 1},
           LogitRows::last,
           mx::slice(next, {row}, {row + 1})});
    }
    mx::array best = mx::argmax(decoder_.forward(slices), -1);
    best = mx::astype(best, mx::int32);
    mx::async_eval(best);
    next.eval();
    next = best;
  }
  next.eval();
}

BenchSample BenchRun::measure(const BenchCase& what) {
  prepare(what);
  BenchSample sample;
  const auto energy = package_joules();
  const auto start = Clock::now();
  if (what.phase == BenchPhase::prefill) {
    prefill(what.tokens);
  } else if (
      !sampling_ && decoder_.takes_drawn() &&
      mx::default_device() == mx::Device::gpu) {
    decode_on_device(what.tokens);
  } else {
    sample.host_seconds = decode(what.tokens);
  }
  sample.seconds = seconds_since(start);
  sample.joules = joules_between(energy, package_joules());
  return sample;
}

std::optional<double> package_joules() {
  const std::filesystem::path root = "/sys/class/powercap";
  std::optional<double> total;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(root, error)) {
    // Packages are intel-rapl:0, 1, …; what has a second colon is part of one.
    const std::string name = entry.path().filename().string();
    if (std::count(name.begin(), name.end(), ':') != 1) {
      continue;
    }
    if (const auto joules = number_in(entry.path() / "energy_uj")) {
      total = total.value_or(0) + *joules * kMicro;
    }
  }
  return total;
}

std::optional<double> joules_between(
    const std::optional<double>& before,
    const std::optional<double>& after) {
  if (!before || !after || *after < *before) {
    return std::nullopt;
  }
  return *after - *before;
}

}  // namespace roofline
