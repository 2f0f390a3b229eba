// Memory of a step's logits, kept from one step to the next: what the system's
// allocator takes back and gives again comes with a page fault every 4 KB, a
// twentieth of a step that checks guesses.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>

#include <mlx/allocator.h>

namespace roofline {

namespace mx = mlx::core;

/// Thread-safe. Arrays may outlive it and those that made it.
class LogitMemory : public std::enable_shared_from_this<LogitMemory> {
 public:
  /// What is larger goes back to the system: rows of a whole text.
  static constexpr std::size_t kMostKeptBytes = std::size_t{32} << 20;

  LogitMemory() = default;
  ~LogitMemory();
  LogitMemory(const LogitMemory&) = delete;
  LogitMemory& operator=(const LogitMemory&) = delete;

  /// At least so many bytes, which come back when the array is gone. It must be
  /// owned by a shared_ptr.
  mx::allocator::Data take(std::size_t bytes);

 private:
  void give_back(mx::allocator::Buffer buffer);

  std::mutex mutex_;
  std::optional<mx::allocator::Buffer> free_;
};

}  // namespace roofline
