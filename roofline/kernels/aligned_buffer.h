// Working memory of kernels.
#pragma once

#include <cstddef>
#include <memory>
#include <new>

namespace roofline {

/// Memory that begins on a cache line; grows, never shrinks, isn't cleared.
template <class T>
class AlignedBuffer {
 public:
  void grow(std::size_t count) {
    if (count <= count_) {
      return;
    }
    constexpr std::size_t kLine = 64;
    data_.reset(static_cast<T*>(
        ::operator new(count * sizeof(T), std::align_val_t(kLine))));
    count_ = count;
  }
  T* data() { return data_.get(); }

 private:
  struct Free {
    void operator()(T* data) const {
      ::operator delete(data, std::align_val_t(64));
    }
  };
  std::unique_ptr<T, Free> data_;
  std::size_t count_ = 0;
};

}  // namespace roofline
