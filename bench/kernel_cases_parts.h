// Memory and work for the cases of bench/kernel_cases*.cpp.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "kernel_cases.h"
#include "roofline/base/thread_pool.h"

namespace roofline::bench {

/// More than a last-level cache keeps from one run to the next.
inline constexpr std::size_t kWorkingSet = std::size_t{160} << 20;

/// Memory in huge pages where the system has them.
class Buffer {
 public:
  explicit Buffer(std::size_t size)
      : size_((size + kAlign - 1) / kAlign * kAlign),
        data_(static_cast<std::byte*>(std::aligned_alloc(kAlign, size_))) {
#if defined(__linux__)
    ::madvise(data_, size_, MADV_HUGEPAGE);
#endif
    std::memset(data_, 0x35, size_);
  }
  ~Buffer() {
    std::free(data_);
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  std::byte* data() {
    return data_;
  }
  std::size_t size() const {
    return size_;
  }

 private:
  static constexpr std::size_t kAlign = std::size_t{2} << 20;
  std::size_t size_;
  std::byte* data_;
};

inline std::vector<float> some_floats(std::size_t count) {
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i) {
    values[i] = static_cast<float>(i * 2654435761u % 1000u) / 500.0f - 1.0f;
  }
  return values;
}

/// Calls f(begin, end) over [0, count) on the pool, `each` at a time.
template <class F>
void in_pieces(int count, int each, const F& f) {
  auto piece = [&](int index, int) {
    f(index * each, std::min(count, (index + 1) * each));
  };
  ThreadPool::global().run((count + each - 1) / each, piece);
}

void add_products(std::vector<CaseMaker>& cases);
void add_attention(std::vector<CaseMaker>& cases);
void add_rows(std::vector<CaseMaker>& cases);
void add_others(std::vector<CaseMaker>& cases);

}  // namespace roofline::bench
