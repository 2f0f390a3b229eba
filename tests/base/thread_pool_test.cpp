#include "roofline/base/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "roofline/base/core_count.h"
#include "roofline/base/errors.h"
#include "roofline/base/read_ahead.h"

#if defined(__unix__)
#include <sys/wait.h>
#include <unistd.h>
#endif

namespace roofline {
namespace {

void expect_each_piece_once(ThreadPool& pool, int pieces) {
  std::vector<std::atomic<int>> seen(static_cast<std::size_t>(pieces));
  std::atomic<bool> worker_in_range{true};
  auto fn = [&](int piece, int worker) {
    seen[static_cast<std::size_t>(piece)].fetch_add(1);
    if (worker < 0 || worker >= pool.threads()) {
      worker_in_range = false;
    }
  };
  pool.run(pieces, fn);
  EXPECT_TRUE(worker_in_range);
  for (int piece = 0; piece < pieces; ++piece) {
    ASSERT_EQ(seen[static_cast<std::size_t>(piece)].load(), 1) << piece;
  }
}

TEST(ThreadPool, RunsEveryPieceExactlyOnce) {
  for (int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (int pieces : {0, 1, 2, 3, 7, 64, 1000}) {
      expect_each_piece_once(pool, pieces);
    }
  }
}

TEST(ThreadPool, ManyTinyRunsLoseNoPieceAndNoWakeUp) {
  ThreadPool pool(4);
  std::atomic<std::int64_t> sum{0};
  std::int64_t expected = 0;
  for (int run = 0; run < 20000; ++run) {
    const int pieces = run % 9;
    auto fn = [&](int piece, int) {
      sum.fetch_add(piece + run, std::memory_order_relaxed);
    };
    pool.run(pieces, fn);
    for (int piece = 0; piece < pieces; ++piece) {
      expected += piece + run;
    }
    ASSERT_EQ(sum.load(), expected) << "after run " << run;
  }
}

TEST(ThreadPool, WorkersThatFellAsleepWakeForTheNextRun) {
  ThreadPool pool(2);
  for (int round = 0; round < 20; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    // Each piece waits for the other, so both threads must take one.
    std::atomic<int> arrived{0};
    auto fn = [&](int, int) {
      arrived.fetch_add(1);
      while (arrived.load() < 2) {
        std::this_thread::yield();
      }
    };
    pool.run(2, fn);
    EXPECT_EQ(arrived.load(), 2);
  }
}

TEST(ThreadPool, TheCallerSleepsUntilASlowPieceEnds) {
  ThreadPool pool(2);
  std::atomic<bool> slow_done{false};
  auto fn = [&](int, int worker) {
    if (worker == 1) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      slow_done = true;
    } else {
      while (!slow_done) {  // leave a piece for the worker, then wait
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    }
  };
  pool.run(2, fn);
  EXPECT_TRUE(slow_done);
}

TEST(ThreadPool, MemoryToReadNextMayBeGone) {
  ThreadPool pool(2);
  for (int run = 0; run < 1000; ++run) {
    std::vector<std::byte> read(4096 + run % 64);
    std::atomic<int> done{0};
    auto fn = [&](int piece, int) {
      read_while_waiting({read.data(), piece == 4 ? 0 : read.size()});
      done.fetch_add(1);
    };
    pool.run(5, fn);
    ASSERT_EQ(done.load(), 5);
  }
}

TEST(ThreadPool, WritesOfAPieceAreVisibleToTheCaller) {
  ThreadPool pool(3);
  std::vector<int> values(257);
  for (int run = 1; run <= 500; ++run) {
    auto fn = [&](int piece, int) {
      values[static_cast<std::size_t>(piece)] = run * piece;
    };
    pool.run(257, fn);
    for (int i = 0; i < 257; ++i) {
      ASSERT_EQ(values[static_cast<std::size_t>(i)], run * i);
    }
  }
}

TEST(ThreadPool, AnExceptionReachesTheCallerAndThePoolStaysUsable) {
  for (int threads : {1, 2, 4}) {
    ThreadPool pool(threads);
    for (int bad = 0; bad < 16; ++bad) {
      auto fn = [&](int piece, int) {
        if (piece == bad) {
          throw std::runtime_error("piece " + std::to_string(bad));
        }
      };
      try {
        pool.run(16, fn);
        FAIL() << "no exception";
      } catch (const std::runtime_error& error) {
        EXPECT_EQ(error.what(), "piece " + std::to_string(bad));
      }
      expect_each_piece_once(pool, 16);
    }
  }
}

TEST(ThreadPool, ANestedRunStaysOnItsThread) {
  ThreadPool pool(3);
  std::atomic<int> inner_pieces{0};
  std::atomic<bool> same{true};
  auto outer = [&](int, int worker) {
    const auto thread = std::this_thread::get_id();
    auto inner = [&](int, int inner_worker) {
      inner_pieces.fetch_add(1);
      if (std::this_thread::get_id() != thread || inner_worker != worker) {
        same = false;
      }
    };
    pool.run(5, inner);
  };
  pool.run(40, outer);
  EXPECT_EQ(inner_pieces.load(), 200);
  EXPECT_TRUE(same);
}

TEST(ThreadPool, TwoCallersTakeTurns) {
  ThreadPool pool(2);
  std::atomic<int> total{0};
  auto call = [&] {
    for (int run = 0; run < 500; ++run) {
      auto fn = [&](int, int) { total.fetch_add(1); };
      pool.run(4, fn);
    }
  };
  std::thread other(call);
  call();
  other.join();
  EXPECT_EQ(total.load(), 4000);
}

TEST(ThreadPool, RefusesToHaveNoThreads) {
  EXPECT_THROW(ThreadPool(0), BugError);
  EXPECT_THROW(ThreadPool(-3), BugError);
}

TEST(ThreadPool, PoolsComeAndGo) {
  for (int i = 0; i < 50; ++i) {
    ThreadPool pool(3);
    if (i % 2 == 0) {
      expect_each_piece_once(pool, 3);
    }
  }
}

#if defined(__unix__) && !defined(__SANITIZE_THREAD__)
TEST(ThreadPool, AForkedChildGetsThreadsOfItsOwn) {
  ThreadPool pool(2);
  expect_each_piece_once(pool, 8);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    std::atomic<int> arrived{0};
    auto fn = [&](int, int) {
      arrived.fetch_add(1);
      while (arrived.load() < 2) {
        std::this_thread::yield();
      }
    };
    pool.run(2, fn);
    ::_exit(arrived.load() == 2 ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}
#endif

TEST(CoreCount, IsAtLeastOneAndThePoolUsesIt) {
  EXPECT_GE(usable_cores(), 1);
  EXPECT_EQ(ThreadPool::default_threads(), usable_cores());
}

TEST(CoreCount, ReadsTheQuotaOfAControlGroup) {
  EXPECT_DOUBLE_EQ(parse_cpu_max("150000 100000\n").value(), 1.5);
  EXPECT_DOUBLE_EQ(parse_cpu_max("200000\n 50000\n").value(), 4.0);
  EXPECT_FALSE(parse_cpu_max("max 100000\n").has_value());
  EXPECT_FALSE(parse_cpu_max("-1\n 100000\n").has_value());
  EXPECT_FALSE(parse_cpu_max("100000").has_value());
  EXPECT_FALSE(parse_cpu_max("100000 0").has_value());
  EXPECT_FALSE(parse_cpu_max("").has_value());
}

}  // namespace
}  // namespace roofline
