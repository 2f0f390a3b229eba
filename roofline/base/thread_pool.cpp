#include "roofline/base/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "roofline/base/clock.h"
#include "roofline/base/core_count.h"
#include "roofline/base/errors.h"
#include "roofline/base/read_ahead.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif
#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

namespace roofline {

namespace {

using std::chrono::microseconds;

/// A worker that waits for the next run spins this long: the serial part
/// between two runs of a decode step is shorter, and waking costs about 50 µs
/// on a virtual machine.
constexpr microseconds kWorkerSpin{50};
/// The caller spins this long for the last pieces. One that takes longer is
/// held by a thread that lost its core: sleeping offers it ours.
constexpr microseconds kCallerSpin{20};
constexpr std::size_t kCacheLine = 64;

void relax() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

/// Sleeps unless word differs from seen; may return early.
void sleep_on(std::atomic<std::uint32_t>& word, std::uint32_t seen) {
#if defined(__linux__)
  static_assert(sizeof(word) == sizeof(std::uint32_t));
  ::syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, seen, nullptr, nullptr, 0);
#else
  word.wait(seen);
#endif
}

void wake_all(std::atomic<std::uint32_t>& word) {
#if defined(__linux__)
  ::syscall(
      SYS_futex,
      &word,
      FUTEX_WAKE_PRIVATE,
      0x7fffffff,
      nullptr,
      nullptr,
      0);
#else
  word.notify_all();
#endif
}

/// What read_while_waiting() said last in this thread.
thread_local ReadAhead t_next;

/// Passes the time: asks for one of the lines that are read next.
void ask_or_relax(ReadAhead& next) {
  constexpr int kSecondCache = 2;
  if (next.bytes < kCacheLine) {
    relax();
    return;
  }
  __builtin_prefetch(next.begin, 0, kSecondCache);
  next.begin += kCacheLine;
  next.bytes -= kCacheLine;
}

/// Spins until done() or for `most`; returns done().
template <class Done>
bool spin(microseconds most, const Done& done) {
  // The clock costs about as much as one pause: ask it now and then.
  constexpr int kPausesPerLook = 8;
  ReadAhead next = std::exchange(t_next, {});
  const auto start = Clock::now();
  do {
    for (int i = 0; i < kPausesPerLook; ++i) {
      if (done()) {
        return true;
      }
      ask_or_relax(next);
    }
  } while (Clock::now() - start < most);
  return done();
}

/// Counts forks, so that a child notices that its pools have no threads.
std::atomic<int> g_forks{0};

void watch_forks() {
#if defined(__unix__) || defined(__APPLE__)
  static const int once =
      ::pthread_atfork(nullptr, nullptr, [] { g_forks.fetch_add(1); });
  (void)once;
#endif
}

/// The worker whose piece this thread is in, or -1.
thread_local int t_inside = -1;

class InsideGuard {
 public:
  explicit InsideGuard(int worker) : before_(t_inside) { t_inside = worker; }
  ~InsideGuard() { t_inside = before_; }
  InsideGuard(const InsideGuard&) = delete;
  InsideGuard& operator=(const InsideGuard&) = delete;

 private:
  int before_;
};

void run_inline(int pieces, PieceFn fn, int worker) {
  InsideGuard guard(worker);
  for (int piece = 0; piece < pieces; ++piece) {
    fn(piece, worker);
  }
}

/// A thread's share of a run: pieces [begin, end), one word, so that taking
/// one at either end is one compare-and-swap.
class alignas(kCacheLine) Share {
 public:
  void open(std::uint32_t begin, std::uint32_t end) {
    range_.store(pack(begin, end), std::memory_order_release);
  }
  /// The next piece for the share's own thread, -1 when there is none.
  int take_first() {
    std::uint64_t now = range_.load(std::memory_order_acquire);
    while (begin(now) < end(now)) {
      if (range_.compare_exchange_weak(now, pack(begin(now) + 1, end(now)))) {
        return static_cast<int>(begin(now));
      }
    }
    return -1;
  }
  /// The last piece, for another thread.
  int take_last() {
    std::uint64_t now = range_.load(std::memory_order_acquire);
    while (begin(now) < end(now)) {
      if (range_.compare_exchange_weak(now, pack(begin(now), end(now) - 1))) {
        return static_cast<int>(end(now) - 1);
      }
    }
    return -1;
  }

 private:
  static std::uint64_t pack(std::uint32_t begin, std::uint32_t end) {
    return (std::uint64_t{begin} << 32) | end;
  }
  static std::uint32_t begin(std::uint64_t range) {
    return static_cast<std::uint32_t>(range >> 32);
  }
  static std::uint32_t end(std::uint64_t range) {
    return static_cast<std::uint32_t>(range);
  }

  std::atomic<std::uint64_t> range_{0};
};

}  // namespace

// Each thread has a share of the run, successive pieces: what they read is one
// stream for it. Who is done takes from the ends of the others' shares. The
// caller works too and waits for pieces, not for threads: a worker that sleeps
// through a run delays nobody. A share is opened after the job is written, and
// a run ends when all pieces are done: so whoever takes a piece, however late
// it looked, finds the job that the piece belongs to.
struct ThreadPool::State {
  explicit State(int threads)
      : count(threads),
        forks(g_forks.load()),
        shares(std::make_unique<Share[]>(static_cast<std::size_t>(threads))) {
    workers.reserve(static_cast<std::size_t>(threads - 1));
    for (int worker = 1; worker < threads; ++worker) {
      workers.emplace_back([this, worker] { work(worker); });
    }
  }

  ~State() {
    stop.store(true);
    run_number.fetch_add(1);
    wake_all(run_number);
    for (std::thread& worker : workers) {
      worker.join();
    }
  }

  void work(int worker);
  std::uint32_t wait_for_run(std::uint32_t seen);
  std::uint32_t take_pieces(int worker);
  int next_piece(int worker);
  void do_piece(int piece, int worker);
  void open(int pieces, const PieceFn& fn);
  void wait_for_pieces(std::uint32_t target);

  const int count;
  const int forks;
  const std::unique_ptr<Share[]> shares;  ///< [count]
  std::vector<std::thread> workers;
  std::mutex callers;

  // Written by the caller once a run, read by the workers.
  alignas(kCacheLine) std::atomic<const PieceFn*> job{nullptr};
  std::atomic<std::uint32_t> run_number{0};
  std::atomic<bool> stop{false};

  // Written by the workers.
  alignas(kCacheLine) std::atomic<std::uint32_t> done{0};
  std::atomic<bool> caller_sleeps{false};
  std::atomic<bool> failed{false};
  std::exception_ptr failure;

  alignas(kCacheLine) std::atomic<int> sleepers{0};
};

std::uint32_t ThreadPool::State::wait_for_run(std::uint32_t seen) {
  const auto changed = [&] {
    return run_number.load(std::memory_order_acquire) != seen;
  };
  if (!spin(kWorkerSpin, changed)) {
    // The caller looks at sleepers after it changed run_number; we look at
    // run_number after we changed sleepers. One of us sees the other.
    sleepers.fetch_add(1);
    while (run_number.load() == seen) {
      sleep_on(run_number, seen);
    }
    sleepers.fetch_sub(1);
  }
  return run_number.load(std::memory_order_acquire);
}

int ThreadPool::State::next_piece(int worker) {
  int piece = shares[static_cast<std::size_t>(worker)].take_first();
  for (int i = 1; piece < 0 && i < count; ++i) {
    const int other = (worker + i) % count;
    piece = shares[static_cast<std::size_t>(other)].take_last();
  }
  return piece;
}

void ThreadPool::State::do_piece(int piece, int worker) {
  if (failed.load(std::memory_order_relaxed)) {
    return;
  }
  try {
    (*job.load(std::memory_order_relaxed))(piece, worker);
  } catch (...) {
    if (!failed.exchange(true)) {
      failure = std::current_exception();
    }
  }
}

std::uint32_t ThreadPool::State::take_pieces(int worker) {
  InsideGuard guard(worker);
  std::uint32_t taken = 0;
  for (int piece = next_piece(worker); piece >= 0; piece = next_piece(worker)) {
    do_piece(piece, worker);
    ++taken;
  }
  return taken;
}

void ThreadPool::State::work(int worker) {
  std::uint32_t seen = 0;
  for (;;) {
    seen = wait_for_run(seen);
    if (stop.load()) {
      return;
    }
    const std::uint32_t taken = take_pieces(worker);
    if (taken > 0) {
      done.fetch_add(taken);
      if (caller_sleeps.load()) {
        wake_all(done);
      }
    }
  }
}

void ThreadPool::State::open(int pieces, const PieceFn& fn) {
  job.store(&fn, std::memory_order_relaxed);
  done.store(0, std::memory_order_relaxed);
  failed.store(false, std::memory_order_relaxed);
  const auto border = [&](int share) {
    return static_cast<std::uint32_t>(std::int64_t{pieces} * share / count);
  };
  for (int share = 0; share < count; ++share) {
    shares[static_cast<std::size_t>(share)].open(
        border(share),
        border(share + 1));
  }
  run_number.fetch_add(1);
  if (sleepers.load() > 0) {
    wake_all(run_number);
  }
}

void ThreadPool::State::wait_for_pieces(std::uint32_t target) {
  const auto finished = [&] {
    return done.load(std::memory_order_acquire) == target;
  };
  if (spin(kCallerSpin, finished)) {
    return;
  }
  // As in wait_for_run: each side writes first and looks then.
  caller_sleeps.store(true);
  for (std::uint32_t now = done.load(); now != target; now = done.load()) {
    sleep_on(done, now);
  }
  caller_sleeps.store(false);
}

void read_while_waiting(const ReadAhead& next) {
  t_next = next;
}

ThreadPool::ThreadPool(int threads) {
  if (threads < 1) {
    fail<BugError>(
        "A thread pool of " + std::to_string(threads) + " threads",
        "The caller is one of them",
        "Ask for 1 or more");
  }
  watch_forks();
  state_ = std::make_unique<State>(threads);
}

ThreadPool::~ThreadPool() {
  if (state_->forks != g_forks.load()) {
    // A forked child: the threads to join are the parent's.
    (void)state_.release();
  }
}

int ThreadPool::threads() const {
  return state_->count;
}

void ThreadPool::run(int pieces, PieceFn fn) {
  if (pieces <= 0) {
    return;
  }
  if (t_inside >= 0 || pieces == 1 || state_->count == 1) {
    run_inline(pieces, fn, std::max(t_inside, 0));
    return;
  }
  if (state_->forks != g_forks.load(std::memory_order_relaxed)) {
    // The child of a fork has only the thread that called it; the old state
    // names threads of the parent and can't be destroyed here.
    const int count = state_->count;
    (void)state_.release();
    state_ = std::make_unique<State>(count);
  }
  State& state = *state_;
  std::lock_guard<std::mutex> lock(state.callers);
  state.open(pieces, fn);
  const std::uint32_t own = state.take_pieces(0);
  state.wait_for_pieces(static_cast<std::uint32_t>(pieces) - own);
  if (state.failed.load()) {
    std::rethrow_exception(std::exchange(state.failure, nullptr));
  }
}

namespace {

std::atomic<int> g_threads{0};

}  // namespace

ThreadPool& ThreadPool::global() {
  // Never destroyed: other threads may still use it while statics go.
  static auto* pool = new ThreadPool(
      g_threads.load() > 0 ? g_threads.load() : default_threads());
  return *pool;
}

void ThreadPool::set_global_threads(int threads) {
  g_threads.store(threads);
}

int ThreadPool::default_threads() {
  return usable_cores();
}

}  // namespace roofline
