// How fast the fused step runs: decode at given depths and prefill, in this
// process alone. Usage: step_bench MODEL [rounds [threads [case]]]; `case` is
// part of a case's name. Prints medians and spread, and processor time, which
// neighbours disturb less. With STEP_OPS set, also where a step's time goes;
// STEP_BEST: so many of the largest logits are asked for, not all, and
// decoding goes on from the likeliest token. STEP_TEMP: drawn at a temperature.
// STEP_TURNS: every other step makes all logits; prints what the others take
// of its time. What disturbs a machine for longer than a step disturbs both.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "roofline/base/clock.h"
#include "roofline/base/op_times.h"
#include "roofline/base/thread_pool.h"
#include "roofline/decode/random.h"
#include "roofline/decode/sampling.h"
#include "roofline/model/cpu_decoder.h"

namespace {

using namespace roofline;

double processor_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * now.tv_nsec;
}

struct Sample {
  double tokens_per_second = 0;
  double processor_ms = 0;  ///< a token, all threads together
};

struct Case {
  const char* name;
  int depth;    ///< tokens in the cache before the clock starts
  int prefill;  ///< tokens in one step; 0: decode one by one
  int tokens;
  LogitRows rows = LogitRows::last;  ///< all: as a speculative step is checked
  int batch = 1;                     ///< sequences in one step
};

void print_operations(const char* name, const OpTimes& times, int steps) {
  std::printf("%s:\n", name);
  for (std::size_t i = 0; i < kStepOpNames.size(); ++i) {
    const OpTimes::Total& total = times.totals()[i];
    std::printf(
        "  %-22s %8.1f us a step, %5.1f GB/s\n",
        std::string(kStepOpNames[i]).c_str(),
        1e6 * total.seconds / steps,
        static_cast<double>(total.bytes) / total.seconds / 1e9);
  }
}

double number_of(const char* variable) {
  const char* text = std::getenv(variable);
  return text != nullptr ? std::atof(text) : 0;
}

/// The logits that a step's draw needs.
DecidingLogits deciding_of(int step) {
  DecidingLogits deciding;
  deciding.largest = static_cast<int>(number_of("STEP_BEST"));
  deciding.temperature = static_cast<float>(number_of("STEP_TEMP"));
  if (deciding.temperature > 0) {
    deciding.largest = std::max(deciding.largest, 1);
  }
  deciding.noise = token_noise(1, static_cast<std::uint64_t>(step));
  return deciding;
}

/// Times of steps of two kinds that take turns.
struct Turns {
  bool wanted = std::getenv("STEP_TURNS") != nullptr;
  std::vector<double> seconds[2];

  void print() {
    if (seconds[0].empty() || seconds[1].empty()) {
      return;
    }
    const auto median = [](std::vector<double>& all) {
      std::sort(all.begin(), all.end());
      return all[all.size() / 2];
    };
    const double some = median(seconds[0]);
    const double all = median(seconds[1]);
    std::printf(
        "  median of a step %.1f us, with all logits %.1f: %.3f\n",
        1e6 * some,
        1e6 * all,
        some / all);
  }
};

std::int32_t drawn(std::span<float> row, int step) {
  if (number_of("STEP_TEMP") == 0) {
    return static_cast<std::int32_t>(
        std::max_element(row.begin(), row.end()) - row.begin());
  }
  SamplingOptions options;
  options.temperature = static_cast<float>(number_of("STEP_TEMP"));
  options.seed = 1;
  Sampler sampler(options, {});
  sampler.go_to(static_cast<std::uint64_t>(step));
  return sampler.sample(row, {}).token;
}

Sample measure(Decoder& decoder, const Case& each) {
  std::vector<std::unique_ptr<KvCache>> caches;
  for (int i = 0; i < each.batch; ++i) {
    caches.push_back(decoder.make_cache({}));
  }
  std::vector<std::int32_t> ids;
  for (int i = 0; i < 512; ++i) {
    ids.push_back((i * 7919 + 13) % decoder.spec().vocab);
  }
  for (int done = 0; done < each.depth; done += 512) {
    const std::size_t count = std::min(512, each.depth - done);
    for (const auto& cache : caches) {
      const Slice slice{cache.get(), {ids.data(), count}, LogitRows::last};
      decoder.forward({&slice, 1});
    }
  }
  OpTimes times;
  const bool shown = std::getenv("STEP_OPS") != nullptr;
  OpTimes::collect(shown ? &times : nullptr);
  const auto start = Clock::now();
  const double processor = processor_seconds();
  const int step = each.prefill ? each.prefill : 1;
  Turns turns;
  for (int done = 0; done < each.tokens; done += step) {
    const int kind = turns.wanted ? done / step % 2 : 0;
    const DecidingLogits deciding =
        kind == 0 ? deciding_of(done) : DecidingLogits{};
    std::vector<Slice> slices;
    for (const auto& cache : caches) {
      const std::size_t first = each.prefill ? 0 : (done + slices.size()) % 512;
      slices.push_back(
          {cache.get(),
           {ids.data() + first, static_cast<std::size_t>(step)},
           each.rows,
           {},
           deciding});
    }
    const auto step_start = Clock::now();
    auto logits = decoder.forward(slices);
    turns.seconds[kind].push_back(seconds_since(step_start));
    const auto vocab = static_cast<std::size_t>(logits.shape(1));
    const bool draws = !deciding_of(done).all() && step == 1;
    for (std::size_t i = 0; draws && i < slices.size(); ++i) {
      ids[(done + 1 + i) % 512] =
          drawn({logits.data<float>() + i * vocab, vocab}, done);
    }
  }
  const int tokens = each.tokens * each.batch;
  const double seconds = seconds_since(start);
  OpTimes::collect(nullptr);
  turns.print();
  if (shown) {
    print_operations(each.name, times, each.tokens / step);
  }
  return {tokens / seconds, 1e3 * (processor_seconds() - processor) / tokens};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: step_bench MODEL [rounds]\n");
    return 2;
  }
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 5;
  if (argc > 3) {
    roofline::ThreadPool::set_global_threads(std::atoi(argv[3]));
  }
  const std::string wanted = argc > 4 ? argv[4] : "";
  const auto start = Clock::now();
  const auto checkpoint = Checkpoint::open(argv[1]);
  ModelOptions options;
  options.exact = std::getenv("STEP_EXACT") != nullptr;
  const auto decoder = load_cpu_decoder(*checkpoint, options);
  std::printf(
      "%s, loaded in %.3f s, %.1f MB a step\n",
      decoder->device_name().c_str(),
      seconds_since(start),
      decoder->step_weight_bytes() / 1e6);
  const Case cases[] = {
      {"decode, depth 0", 0, 0, 128},
      {"decode, depth 512", 512, 0, 64},
      {"decode, depth 2048", 2048, 0, 32},
      {"batch 2", 0, 0, 64, LogitRows::last, 2},
      {"batch 3", 0, 0, 64, LogitRows::last, 3},
      {"batch 4", 0, 0, 64, LogitRows::last, 4},
      {"batch 8", 0, 0, 32, LogitRows::last, 8},
      {"batch 12", 0, 0, 32, LogitRows::last, 12},
      {"batch 16", 0, 0, 32, LogitRows::last, 16},
      {"batch 17", 0, 0, 32, LogitRows::last, 17},
      {"batch 24", 0, 0, 32, LogitRows::last, 24},
      {"batch 32", 0, 0, 32, LogitRows::last, 32},
      {"batch 64", 0, 0, 32, LogitRows::last, 64},
      {"prefill 512", 0, 512, 512},
      {"prefill 64", 0, 64, 64},
      {"prefill 5", 0, 5, 5},
      {"prefill 512, depth 1536", 1536, 512, 512},
      {"check 1, depth 512", 512, 1, 16, LogitRows::all},
      {"check 2, depth 512", 512, 2, 2 * 16, LogitRows::all},
      {"check 3, depth 512", 512, 3, 3 * 16, LogitRows::all},
      {"check 4, depth 512", 512, 4, 4 * 16, LogitRows::all},
      {"check 5, depth 512", 512, 5, 5 * 16, LogitRows::all},
      {"check 6, depth 512", 512, 6, 6 * 16, LogitRows::all},
      {"check 9, depth 512", 512, 9, 9 * 16, LogitRows::all},
      {"check 17, depth 512", 512, 17, 17 * 16, LogitRows::all},
      {"check 33, depth 512", 512, 33, 33 * 16, LogitRows::all}};
  std::vector<std::vector<Sample>> results(std::size(cases));
  for (int round = 0; round < rounds; ++round) {
    for (std::size_t i = 0; i < std::size(cases); ++i) {
      if (std::string_view(cases[i].name).find(wanted) != std::string::npos) {
        results[i].push_back(measure(*decoder, cases[i]));
      }
    }
  }
  for (std::size_t i = 0; i < std::size(cases); ++i) {
    auto& all = results[i];
    if (all.empty()) {
      continue;
    }
    std::sort(all.begin(), all.end(), [](const Sample& a, const Sample& b) {
      return a.tokens_per_second < b.tokens_per_second;
    });
    const Sample& median = all[all.size() / 2];
    std::printf(
        "%-24s %8.1f tokens/s (%.1f to %.1f), processor %.3f ms a token\n",
        cases[i].name,
        median.tokens_per_second,
        all.front().tokens_per_second,
        all.back().tokens_per_second,
        median.processor_ms);
  }
  return 0;
}
