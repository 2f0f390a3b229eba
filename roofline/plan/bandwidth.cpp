#include "roofline/plan/bandwidth.h"

#include <sys/mman.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <vector>

#include <mlx/memory.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include "roofline/base/clock.h"
#include "roofline/base/errors.h"

namespace roofline {

namespace {

// What is read at a time. Where a cache can be emptied by hand this is all the
// memory that is needed; elsewhere kWindows of them are read in turn, more than
// a last-level cache holds.
constexpr std::size_t kWindow = std::size_t{16} << 20;
#ifdef __SSE2__
constexpr std::size_t kWindows = 1;
#else
constexpr std::size_t kWindows = 16;
#endif
// What a thread takes at a time: short enough that all end together.
constexpr std::size_t kPiece = std::size_t{512} << 10;
constexpr int kReadings = 48;
// Each window and each way of reading once.
constexpr std::size_t kLeast = kWindows < 2 ? 2 : kWindows;
constexpr int kGpuPasses = 4;

// Pages of its own, large ones where the system has them: what a roof is.
class Pages {
 public:
  explicit Pages(std::size_t size) : size_(size) {
    void* at = mmap(
        nullptr,
        size,
        PROT_READ | PROT_WRITE,
        MAP_PRIVATE | MAP_ANON,
        -1,
        0);
    if (at == MAP_FAILED) {
      fail<UnsupportedError>(
          "The memory bandwidth can't be measured",
          std::strerror(errno),
          "Free some memory");
    }
    data_ = static_cast<std::byte*>(at);
#ifdef MADV_HUGEPAGE
    madvise(at, size, MADV_HUGEPAGE);
#endif
    // Written, so that no page is the shared page of zeros.
    std::memset(data_, 1, size);
  }
  ~Pages() {
    munmap(data_, size_);
  }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;

  const std::byte* data() const {
    return data_;
  }

 private:
  std::byte* data_ = nullptr;
  std::size_t size_;
};

// Sends a piece out of all caches, so that reading it reaches the memory.
void empty_caches([[maybe_unused]] const std::byte* piece) {
#ifdef __SSE2__
  constexpr std::size_t kLine = 64;
  for (std::size_t at = 0; at < kPiece; at += kLine) {
    _mm_clflush(piece + at);
  }
#endif
}

constexpr std::size_t kLanes = 32;
using Lanes = std::uint64_t[kLanes];

std::uint64_t sum_of(const Lanes& lanes) {
  std::uint64_t sum = 0;
  for (const std::uint64_t lane : lanes) {
    sum += lane;
  }
  return sum;
}

// Independent sums that become vector additions: no load waits for another.
// Memory is asked for some way ahead: one stream by which the processor's own
// prefetch keeps few lines under way.
std::uint64_t sum_asking_ahead(const std::byte* data) {
  constexpr std::size_t kAhead = 8192;
  constexpr std::size_t kLine = 64;
  const auto* words = reinterpret_cast<const std::uint64_t*>(data);
  Lanes lanes = {};
  for (std::size_t i = 0; i < kPiece / 8; i += kLanes) {
    for (std::size_t at = 0; at < 8 * kLanes; at += kLine) {
      __builtin_prefetch(data + 8 * i + kAhead + at);
    }
    for (std::size_t l = 0; l < kLanes; ++l) {
      lanes[l] += words[i + l];
    }
  }
  return sum_of(lanes);
}

// Four streams for the processor's own prefetch: on an AMD EPYC (Zen 3) a third
// more than one stream, asked for or not.
std::uint64_t sum_in_streams(const std::byte* data) {
  constexpr std::size_t kStreams = 4;
  constexpr std::size_t kWords = kPiece / 8 / kStreams;
  constexpr std::size_t kOfStream = kLanes / kStreams;
  const auto* words = reinterpret_cast<const std::uint64_t*>(data);
  Lanes lanes = {};
  for (std::size_t i = 0; i < kWords; i += kOfStream) {
    for (std::size_t l = 0; l < kLanes; ++l) {
      lanes[l] += words[l / kOfStream * kWords + i + l % kOfStream];
    }
  }
  return sum_of(lanes);
}

// Which of them is quickest differs from one processor to the next.
constexpr std::array kWays = {sum_asking_ahead, sum_in_streams};

double read_window(
    const std::byte* window,
    std::uint64_t (*sum_of_piece)(const std::byte*),
    ThreadPool& pool) {
  // Kept so that no compiler drops the reading.
  static std::atomic<std::uint64_t> sink{0};
  const auto piece_at = [&](int index) {
    return window + static_cast<std::size_t>(index) * kPiece;
  };
  auto empty = [&](int index, int) { empty_caches(piece_at(index)); };
  auto read = [&](int index, int) {
    const auto sum = sum_of_piece(piece_at(index));
    sink.fetch_add(sum, std::memory_order_relaxed);
  };
  constexpr int kPieces = static_cast<int>(kWindow / kPiece);
  pool.run(kPieces, empty);
  const auto start = Clock::now();
  pool.run(kPieces, read);
  return seconds_since(start);
}

// Of the quickest quarter: a reading during which a neighbour took a core says
// nothing about the memory.
double quick(std::vector<double>& taken) {
  const auto quarter =
      taken.begin() + static_cast<std::ptrdiff_t>(taken.size() / 4);
  std::nth_element(taken.begin(), quarter, taken.end());
  return *quarter;
}

}  // namespace

Bandwidth measure_read_bandwidth(ThreadPool& pool, double seconds) {
  const Pages pages(kWindows * kWindow);
  const auto start = Clock::now();
  std::array<std::vector<double>, kWays.size()> taken;
  for (std::size_t i = 0; i < kReadings; ++i) {
    // However slow the machine is just now.
    if (i > kLeast && seconds_since(start) > seconds) {
      break;
    }
    const std::size_t way = i % kWays.size();
    const std::byte* window = pages.data() + i % kWindows * kWindow;
    taken[way].push_back(read_window(window, kWays[way], pool));
  }
  const double quickest = std::min(quick(taken[0]), quick(taken[1]));
  return {static_cast<double>(kWindow) / quickest, kWindows * kWindow};
}

Bandwidth measure_gpu_bandwidth() {
  constexpr int kValues = 64 << 20;  // 256 MiB of float32
  // Successive ops, so that the cost of a launch is spread over many bytes.
  constexpr int kOps = 16;
  namespace mx = mlx::core;
  auto values = mx::zeros({kValues}, mx::float32);
  mx::eval(values);
  const double moved = 2.0 * 4 * kValues * kOps;
  double best = 0;
  // The first pass compiles the kernel; being the slowest, it never counts.
  for (int pass = 0; pass <= kGpuPasses; ++pass) {
    const auto start = Clock::now();
    for (int op = 0; op < kOps; ++op) {
      values = mx::add(values, mx::array(1.0f));
    }
    mx::eval(values);
    mx::synchronize();
    best = std::max(best, moved / seconds_since(start));
  }
  mx::clear_cache();
  return {best, std::size_t{4} * kValues};
}

}  // namespace roofline
