#include "roofline/model/kv_memory.h"

#include <algorithm>
#include <cstdint>

#include <mlx/allocator.h>

#ifdef __linux__
#include <sys/mman.h>
#endif

#include "roofline/base/round_up.h"

namespace roofline {

namespace {

constexpr std::size_t kLine = 64;
/// The usual large page. A block below it takes small ones.
constexpr std::size_t kLargePage = std::size_t{2} << 20;

}  // namespace

std::size_t KvMemory::rounded(std::size_t bytes) {
  return round_up(bytes, kLine);
}

void KvMemory::expect(std::size_t bytes) {
  block_.reset();
  used_ = end_ = 0;
  expected_ = bytes;
}

void KvMemory::open(std::size_t bytes) {
  // Whole arrays: most have one size.
  std::size_t size =
      expected_ <= kBlockBytes ? expected_ : round_up(kBlockBytes, bytes);
  size = std::max(bytes, size);
  const bool large = size >= kLargePage;
  if (large) {
    size = round_up(size, kLargePage);
  }
  const std::size_t align = large ? kLargePage : kLine;
  // What is beside the aligned bytes is never touched, so it takes no memory.
  const std::size_t all = size + align;
  // Its shape isn't read, and has no numbers for a block above 2 GB.
  block_.emplace(mx::allocator::malloc(all), mx::Shape{1}, mx::uint8);
  auto* data = block_->data<std::byte>();
  const auto address = reinterpret_cast<std::uintptr_t>(data);
  used_ = round_up(address, align) - address;
  end_ = used_ + size;
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  if (large) {
    ::madvise(data + used_, size, MADV_HUGEPAGE);
  }
#endif
}

mx::array KvMemory::take(const mx::Shape& shape, mx::Dtype dtype) {
  mx::Strides strides(shape.size());
  std::int64_t count = 1;
  for (std::size_t axis = shape.size(); axis-- > 0;) {
    strides[axis] = count;
    count *= shape[axis];
  }
  const auto elements = static_cast<std::size_t>(count);
  const std::size_t bytes = rounded(elements * dtype.size());
  if (used_ + bytes > end_) {
    open(bytes);
  }
  mx::array taken(shape, dtype, nullptr, {});
  mx::array::Flags flags{};
  flags.contiguous = true;
  flags.row_contiguous = true;
  flags.col_contiguous = false;
  const std::size_t item = dtype.size();
  taken.copy_shared_buffer(
      *block_,
      strides,
      flags,
      elements,
      static_cast<std::int64_t>(used_ / item));
  taken.set_status(mx::array::Status::available);
  used_ += bytes;
  expected_ -= std::min(expected_, bytes);
  return taken;
}

}  // namespace roofline
