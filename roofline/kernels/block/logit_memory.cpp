#include "roofline/kernels/block/logit_memory.h"

#include <optional>
#include <utility>

namespace roofline {

namespace {

std::size_t size_of(mx::allocator::Buffer buffer) {
  return mx::allocator::allocator().size(buffer);
}

}  // namespace

LogitMemory::~LogitMemory() {
  if (free_) {
    mx::allocator::allocator().free(*free_);
  }
}

mx::allocator::Data LogitMemory::take(std::size_t bytes) {
  std::optional<mx::allocator::Buffer> found;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (free_ && size_of(*free_) >= bytes) {
      found = std::exchange(free_, std::nullopt);
    }
  }
  if (!found) {
    found = mx::allocator::allocator().malloc(bytes);
  }
  return {*found, [memory = shared_from_this()](mx::allocator::Buffer buffer) {
            memory->give_back(buffer);
          }};
}

void LogitMemory::give_back(mx::allocator::Buffer buffer) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const std::size_t size = size_of(buffer);
  if (size <= kMostKeptBytes) {
    if (!free_) {
      free_ = buffer;
      return;
    }
    // The larger one stays.
    if (size_of(*free_) < size) {
      std::swap(*free_, buffer);
    }
  }
  mx::allocator::allocator().free(buffer);
}

}  // namespace roofline
