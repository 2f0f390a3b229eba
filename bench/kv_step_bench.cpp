// How fast a step decodes over each format of the cache: all formats in turn, a
// few tokens at a time, so that a neighbour disturbs them alike. Prints medians
// of the steps' time and of processor time, and both beside 16 bits, and
// attention's part where the model runs as the fused step.
// Usage: kv_step_bench MODEL [depth [rounds [tokens [formats]]]]
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <vector>

#include <mlx/transforms.h>

#include "roofline/base/op_times.h"
#include "roofline/model/decoder.h"

namespace {

using namespace roofline;

/// A prompt's step.
constexpr int kChunk = 512;

double seconds_of(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) +
         1e-9 * static_cast<double>(now.tv_nsec);
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

struct Run {
  KvFormat format;
  std::unique_ptr<Decoder> decoder;
  std::unique_ptr<KvCache> cache;
  std::vector<double> wall_ms = {};  ///< a token
  std::vector<double> processor_ms = {};
  OpTimes times = {};
};

Run open_run(const Checkpoint& checkpoint, const KvFormat& format, int depth) {
  ModelOptions options;
  options.kv = format;
  options.device = DeviceChoice::cpu;
  auto decoder = Decoder::load(checkpoint, options);
  auto cache = decoder->make_cache({});
  std::vector<std::int32_t> ids(kChunk);
  for (int done = 0; done < depth; done += kChunk) {
    for (int i = 0; i < kChunk; ++i) {
      ids[static_cast<std::size_t>(i)] =
          ((done + i) * 7919 + 13) % decoder->spec().vocab;
    }
    const auto count = static_cast<std::size_t>(std::min(kChunk, depth - done));
    const Slice slice{cache.get(), {ids.data(), count}, LogitRows::last};
    mx::eval(decoder->forward({&slice, 1}));
  }
  return {format, std::move(decoder), std::move(cache)};
}

/// Decodes behind the depth, and forgets what it decoded.
void decode(Run& run, int depth, int tokens, bool counts) {
  OpTimes unused;
  OpTimes::collect(counts ? &run.times : &unused);
  const double wall = seconds_of(CLOCK_MONOTONIC);
  const double processor = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
  for (std::int32_t id = 0; id < tokens; ++id) {
    const Slice slice{run.cache.get(), {&id, 1}, LogitRows::last};
    mx::eval(run.decoder->forward({&slice, 1}));
  }
  OpTimes::collect(nullptr);
  if (counts) {
    const auto ms_since = [&](clockid_t clock, double start) {
      return 1e3 * (seconds_of(clock) - start) / tokens;
    };
    run.wall_ms.push_back(ms_since(CLOCK_MONOTONIC, wall));
    run.processor_ms.push_back(ms_since(CLOCK_PROCESS_CPUTIME_ID, processor));
  }
  run.cache->truncate(depth);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: kv_step_bench MODEL [depth [rounds ...]]\n");
    return 2;
  }
  const auto number = [&](int at, int otherwise) {
    return argc > at ? std::atoi(argv[at]) : otherwise;
  };
  const int depth = number(2, 2048);
  const int rounds = number(3, 15);
  const int tokens = number(4, 8);
  const KvFormat formats[] = {
      {16, 16, 64},
      {8, 8, 32},
      {4, 4, 32},
      {8, 8, 64},
      {4, 4, 64},
      {8, 4, 32},
      {4, 8, 32}};
  const auto checkpoint = Checkpoint::open(argv[1]);
  std::vector<Run> runs;
  for (const KvFormat& format : formats) {
    if (runs.size() < static_cast<std::size_t>(number(5, 7))) {
      runs.push_back(open_run(*checkpoint, format, depth));
    }
  }
  for (int round = 0; round <= rounds; ++round) {
    for (Run& run : runs) {
      decode(run, depth, tokens, round > 0);
    }
  }
  const double wall = median(runs[0].wall_ms);
  const double processor = median(runs[0].processor_ms);
  for (const Run& run : runs) {
    const auto& attention =
        run.times.totals()[static_cast<std::size_t>(StepOp::attention)];
    std::printf(
        "%-34s %7.3f ms (%.3f), processor %7.3f ms (%.3f), attention %.3f ms\n",
        run.format.text().c_str(),
        median(run.wall_ms),
        wall / median(run.wall_ms),
        median(run.processor_ms),
        processor / median(run.processor_ms),
        1e3 * attention.seconds / (tokens * rounds));
  }
}
