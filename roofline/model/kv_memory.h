// Memory for a cache's arrays where kernels read and write them in place. Many
// arrays share a block, so that even short ones lie in the system's large pages
// and each begins on a cache line: attention reads them from memory, and misses
// of the page table's cache, or vectors over two lines, are what it would wait
// for. MLX never writes to such arrays in place, for they share their memory.
#pragma once

#include <cstddef>
#include <optional>

#include <mlx/array.h>

namespace roofline {

namespace mx = mlx::core;

class KvMemory {
 public:
  /// Arrays share a block until they have so many bytes together. While a cache
  /// grows, a block stays until the last of its arrays was copied, so it isn't
  /// larger; glibc gives blocks above 32 MB back to the system at once, smaller
  /// ones not always, so it isn't smaller.
  static constexpr std::size_t kBlockBytes = std::size_t{32} << 20;

  /// So many bytes of arrays are wanted next: they get blocks of their own,
  /// which are given back when all arrays in them are gone.
  void expect(std::size_t bytes);
  /// A row-contiguous array whose values are anything.
  mx::array take(const mx::Shape& shape, mx::Dtype dtype);

  /// What an array of so many bytes takes of a block.
  static std::size_t rounded(std::size_t bytes);

 private:
  void open(std::size_t bytes);

  std::optional<mx::array> block_;
  std::size_t used_ = 0;  ///< bytes of the block
  std::size_t end_ = 0;
  std::size_t expected_ = 0;
};

}  // namespace roofline
