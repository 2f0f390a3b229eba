#include "roofline/model/kv_store.h"

#include <algorithm>
#include <cstring>

#include <mlx/allocator.h>
#include <mlx/device.h>
#include <mlx/ops.h>

#include "roofline/base/errors.h"
#include "roofline/model/kv_format.h"

namespace roofline {

namespace {

/// MLX's affine mode, by its name.
constexpr const char* kAffine = "affine";
constexpr int kWordBits = 32;

int groups_of(const KvStoreShape& shape) {
  return (shape.dims + shape.group_size - 1) / shape.group_size;
}

/// Dims with what fills the last group.
int padded_dims_of(const KvStoreShape& shape) {
  return groups_of(shape) * shape.group_size;
}

/// In MLX's layout scales and biases have the cache's type, in 16 bits.
mx::Dtype scale_type(const KvStoreShape& shape) {
  return shape.layout == KvLayout::mlx && shape.dtype == mx::bfloat16
             ? mx::bfloat16
             : mx::float16;
}

std::vector<mx::array> empty_codes(const KvStoreShape& shape) {
  if (shape.bits >= 16 || shape.heads == 0 || shape.dims == 0) {
    return {};
  }
  const int groups = groups_of(shape);
  const int bits = padded_dims_of(shape) * shape.bits;
  const auto type = scale_type(shape);
  if (shape.layout == KvLayout::mlx) {
    const auto scales = mx::zeros({1, shape.heads, 0, groups}, type);
    return {
        mx::zeros({1, shape.heads, 0, bits / kWordBits}, mx::uint32),
        scales,
        scales};
  }
  const auto scales = mx::zeros({1, shape.heads * groups, 0, 1}, type);
  return {mx::zeros({1, shape.heads, 0, bits / 8}, mx::uint8), scales, scales};
}

/// The host's way to grow [1, heads, slots, dim]: MLX's CPU ops would copy
/// element by element. New slots are zero.
mx::array copied_larger(
    const mx::array& old,
    const mx::Shape& shape,
    KvMemory* memory) {
  const auto heads = static_cast<std::size_t>(shape[1]);
  const auto head_bytes = old.itemsize() * shape[2] * shape[3];
  const auto held_bytes = old.itemsize() * old.shape(2) * shape[3];
  mx::array grown = memory ? memory->take(shape, old.dtype())
                           : mx::array(
                                 mx::allocator::malloc(heads * head_bytes),
                                 shape,
                                 old.dtype());
  auto* to = grown.data<std::byte>();
  for (std::size_t head = 0; head < heads; ++head) {
    if (held_bytes > 0) {
      std::memcpy(to, old.data<std::byte>() + head * held_bytes, held_bytes);
    }
    std::memset(to + held_bytes, 0, head_bytes - held_bytes);
    to += head_bytes;
  }
  return grown;
}

/// With so many slots along axis 2.
mx::array larger(const mx::array& old, int slots, KvMemory* memory) {
  const int held = old.shape(2);
  const int dims = old.shape(3);
  if (dims == 0 || slots == held) {
    return old;
  }
  if ((memory || mx::default_device() == mx::Device::cpu) &&
      (held == 0 || (old.is_available() && old.flags().row_contiguous))) {
    return copied_larger(old, mx::Shape{1, old.shape(1), slots, dims}, memory);
  }
  const auto zeros =
      mx::zeros(mx::Shape{1, old.shape(1), slots - held, dims}, old.dtype());
  return held == 0 ? zeros : mx::concatenate({old, zeros}, 2);
}

}  // namespace

KvStore::KvStore(const KvStoreShape& shape)
    : shape_(shape),
      floats_(mx::zeros({1, shape.heads, 0, shape.dims}, shape.dtype)),
      codes_(empty_codes(shape)) {}

int KvStore::floats_of(int slots) const {
  return codes_.empty() ? slots : std::min(slots, shape_.full_slots);
}

void KvStore::grow(int slots, KvMemory* memory) {
  slots_ = slots;
  const int floats = floats_of(slots);
  floats_ = larger(floats_, floats, memory);
  for (auto& array : codes_) {
    array = larger(array, slots - floats, memory);
  }
}

std::size_t KvStore::memory_for(int slots) const {
  const auto bytes_of = [](const mx::array& array, int held) {
    return KvMemory::rounded(
        array.itemsize() * static_cast<std::size_t>(held) *
        static_cast<std::size_t>(array.shape(1)) *
        static_cast<std::size_t>(array.shape(3)));
  };
  const int floats = floats_of(slots);
  std::size_t sum = bytes_of(floats_, floats);
  for (const mx::array& array : codes_) {
    sum += bytes_of(array, slots - floats);
  }
  return sum;
}

KvCodes KvStore::sizes() const {
  KvCodes sizes;
  if (codes_.empty()) {
    return sizes;
  }
  sizes.bits = shape_.bits;
  sizes.group = shape_.group_size;
  sizes.dims = shape_.dims;
  sizes.slots = codes_[0].shape(2);
  return sizes;
}

KvCodes KvStore::view() {
  KvCodes view = sizes();
  if (view.bits > 0) {
    view.codes = codes_[0].data<std::uint8_t>();
    view.scales = codes_[1].data<std::uint16_t>();
    view.biases = codes_[2].data<std::uint16_t>();
  }
  return view;
}

std::vector<mx::array> KvStore::arrays() const {
  std::vector<mx::array> all = {floats_};
  all.insert(all.end(), codes_.begin(), codes_.end());
  return all;
}

std::size_t KvStore::bytes() const {
  std::size_t sum = floats_.nbytes();
  for (const auto& array : codes_) {
    sum += array.nbytes();
  }
  return sum;
}

bool KvStore::is_available() const {
  return floats_.is_available() &&
         std::all_of(codes_.begin(), codes_.end(), [](const mx::array& array) {
           return array.is_available();
         });
}

std::vector<mx::array> to_codes(const mx::array& x, const KvStoreShape& shape) {
  const int more = padded_dims_of(shape) - shape.dims;
  const auto whole =
      more == 0 ? x : mx::pad(x, {{0, 0}, {0, 0}, {0, 0}, {0, more}});
  return mx::quantize(
      mx::astype(whole, scale_type(shape)),
      shape.group_size,
      shape.bits,
      kAffine);
}

mx::array read_slots(KvStore& store, int first, int count, mx::Dtype dtype) {
  const auto& shape = store.shape();
  const auto part = [](const mx::array& held, int begin, int end) {
    return mx::slice(
        held,
        mx::Shape{0, 0, begin, 0},
        mx::Shape{1, held.shape(1), end, held.shape(3)});
  };
  const int floats =
      store.codes().empty() ? store.slots() : store.float_slots();
  std::vector<mx::array> parts;
  if (first < floats) {
    const int end = std::min(first + count, floats);
    parts.push_back(mx::astype(part(store.floats(), first, end), dtype));
  }
  if (first + count > floats) {
    if (shape.layout != KvLayout::mlx) {
      fail<BugError>(
          "kv_store: codes of the kernels can't be read as an array",
          "Their attention reads them where they lie",
          "Use cached_attention().");
    }
    const int begin = std::max(0, first - floats);
    const int end = first + count - floats;
    auto& codes = store.codes();
    const auto values = mx::dequantize(
        part(codes[0], begin, end),
        part(codes[1], begin, end),
        part(codes[2], begin, end),
        shape.group_size,
        shape.bits,
        kAffine);
    parts.push_back(mx::astype(
        mx::slice(
            values,
            {0, 0, 0, 0},
            {1, shape.heads, end - begin, shape.dims}),
        dtype));
  }
  return parts.size() == 1 ? parts[0] : mx::concatenate(parts, 2);
}

}  // namespace roofline
