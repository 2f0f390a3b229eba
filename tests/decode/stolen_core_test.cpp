// A neighbour that takes one of our cores for itself: an answer takes longer,
// and is the same.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <thread>

#if defined(__linux__)
#include <pthread.h>
#include <sched.h>
#endif

#include "decode/fakes.h"
#include "model/golden.h"
#include "roofline/base/thread_pool.h"
#include "roofline/decode/generate.h"

namespace roofline {
namespace {

/// Computes on one core until it goes.
class Neighbour {
 public:
  explicit Neighbour(int core) : thread_([this, core] { work(core); }) {
    while (!running_) {
      std::this_thread::yield();
    }
  }
  ~Neighbour() {
    stop_ = true;
    thread_.join();
  }
  Neighbour(const Neighbour&) = delete;
  Neighbour& operator=(const Neighbour&) = delete;

 private:
  void work(int core) {
#if defined(__linux__)
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    EXPECT_EQ(::pthread_setaffinity_np(::pthread_self(), sizeof(set), &set), 0);
#else
    (void)core;
#endif
    running_ = true;
    while (!stop_) {
    }
  }

  std::atomic<bool> running_{false};
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

/// A core that this process may use.
int some_core() {
#if defined(__linux__)
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof(set), &set) == 0) {
    for (int core = 0; core < CPU_SETSIZE; ++core) {
      if (CPU_ISSET(core, &set)) {
        return core;
      }
    }
  }
#endif
  return 0;
}

TEST(StolenCore, AnAnswerEndsAndIsTheSame) {
  const auto golden = testing::open_golden("llama");
  ModelOptions model_options;
  model_options.device = DeviceChoice::cpu;
  const auto decoder = Decoder::load(*golden.checkpoint, model_options);
  const fakes::ByteTokenizer tokenizer;
  Generator generator(*decoder, tokenizer);
  GenerateOptions options;
  options.max_tokens = 100;
  options.ignore_eos = true;
  options.sampling.seed = 3;
  const auto alone = generator.run(golden.ids[0], options, {});
  ASSERT_EQ(alone.tokens.size(), 100u);
  const Neighbour neighbour(some_core());
  for (int i = 0; i < 3; ++i) {
    generator.reset();
    const auto disturbed = generator.run(golden.ids[0], options, {});
    EXPECT_EQ(disturbed.tokens, alone.tokens);
  }
}

TEST(StolenCore, EveryPieceOfWorkIsDoneOnce) {
  const Neighbour neighbour(some_core());
  ThreadPool pool(std::max(2, ThreadPool::default_threads()));
  for (int run = 0; run < 500; ++run) {
    std::array<std::atomic<int>, 64> done{};
    auto piece = [&](int index, int) {
      ++done[static_cast<std::size_t>(index)];
    };
    pool.run(static_cast<int>(done.size()), piece);
    for (const auto& count : done) {
      ASSERT_EQ(count, 1);
    }
  }
}

}  // namespace
}  // namespace roofline
