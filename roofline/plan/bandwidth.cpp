#include "roofline/plan/bandwidth.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>

#include <mlx/memory.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include "roofline/base/errors.h"

namespace roofline {

namespace {

using Clock = std::chrono::steady_clock;

// The working set: more than most last-level caches; where the system tells the
// cache's size, twice that, but never so much that it takes a second.
constexpr std::size_t kLeastWorkingSet = std::size_t{256} << 20;
constexpr std::size_t kMostWorkingSet = std::size_t{512} << 20;
// What is mapped, and so resident, at a time.
constexpr std::size_t kWindow = std::size_t{32} << 20;
// What a thread takes at a time: short enough that all end together.
constexpr std::size_t kPiece = std::size_t{512} << 10;
constexpr int kPasses = 4;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::size_t working_set() {
  std::size_t cache = 0;
#ifdef _SC_LEVEL3_CACHE_SIZE
  cache =
      static_cast<std::size_t>(std::max(0L, sysconf(_SC_LEVEL3_CACHE_SIZE)));
#endif
  return std::clamp(2 * cache, kLeastWorkingSet, kMostWorkingSet) / kWindow *
         kWindow;
}

// Memory of which only a window is mapped at a time. An anonymous file where
// the system has them; elsewhere (macOS) a mapping of all of it.
class Windows {
 public:
  explicit Windows(std::size_t size) : size_(size) {
#ifdef __linux__
    file_ = memfd_create("roofline", MFD_CLOEXEC);
    if (file_ >= 0 && reserve()) {
      return;
    }
    close();
#endif
    size_ = kLeastWorkingSet / 4;
    whole_ = map(-1, size_, 0);
    // Every page must be a page of its own, not the shared page of zeros.
    std::memset(whole_, 1, size_);
  }
  ~Windows() {
    if (whole_ != nullptr) {
      munmap(whole_, size_);
    }
    close();
  }
  Windows(const Windows&) = delete;
  Windows& operator=(const Windows&) = delete;

  std::size_t size() const {
    return size_;
  }

  /// Calls use(pointer) for one window after the other.
  template <class Use>
  void each(Use use) {
    for (std::size_t at = 0; at + kWindow <= size_; at += kWindow) {
      if (whole_ != nullptr) {
        use(whole_ + at);
        continue;
      }
      std::byte* window = map(file_, kWindow, static_cast<off_t>(at));
      use(window);
      munmap(window, kWindow);
    }
  }

 private:
  static std::byte* map(int file, std::size_t size, off_t offset) {
#ifdef __linux__
    // The pages are mapped before the clock starts.
    constexpr int kPopulate = MAP_POPULATE;
#else
    constexpr int kPopulate = 0;
#endif
    const int flags =
        file < 0 ? MAP_PRIVATE | MAP_ANON : MAP_SHARED | kPopulate;
    void* at = mmap(nullptr, size, PROT_READ | PROT_WRITE, flags, file, offset);
    if (at == MAP_FAILED) {
      fail<UnsupportedError>(
          "The memory bandwidth can't be measured",
          std::strerror(errno),
          "Free some memory");
    }
    return static_cast<std::byte*>(at);
  }
  bool reserve() {
#ifdef __linux__
    return posix_fallocate(file_, 0, static_cast<off_t>(size_)) == 0;
#else
    return false;
#endif
  }
  void close() {
    if (file_ >= 0) {
      ::close(file_);
      file_ = -1;
    }
  }

  std::size_t size_;
  int file_ = -1;
  std::byte* whole_ = nullptr;
};

// Four independent sums of what becomes vector additions: the loads never wait
// for each other.
std::uint64_t sum_of(const std::byte* data, std::size_t size) {
  constexpr std::size_t kLanes = 32;
  const auto* words = reinterpret_cast<const std::uint64_t*>(data);
  std::uint64_t lanes[kLanes] = {};
  for (std::size_t i = 0; i < size / 8; i += kLanes) {
    for (std::size_t l = 0; l < kLanes; ++l) {
      lanes[l] += words[i + l];
    }
  }
  std::uint64_t sum = 0;
  for (const std::uint64_t lane : lanes) {
    sum += lane;
  }
  return sum;
}

double read_window(const std::byte* window, ThreadPool& pool) {
  // Kept so that no compiler drops the reading.
  static std::atomic<std::uint64_t> sink{0};
  auto piece = [&](int index, int) {
    const auto sum =
        sum_of(window + static_cast<std::size_t>(index) * kPiece, kPiece);
    sink.fetch_add(sum, std::memory_order_relaxed);
  };
  const auto start = Clock::now();
  pool.run(static_cast<int>(kWindow / kPiece), piece);
  return seconds_since(start);
}

}  // namespace

Bandwidth measure_read_bandwidth(ThreadPool& pool) {
  Windows windows(working_set());
  double best = 0;
  for (int pass = 0; pass < kPasses; ++pass) {
    double seconds = 0;
    windows.each(
        [&](const std::byte* window) { seconds += read_window(window, pool); });
    best = std::max(best, static_cast<double>(windows.size()) / seconds);
  }
  return {best, windows.size()};
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
  for (int pass = 0; pass <= kPasses; ++pass) {
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
