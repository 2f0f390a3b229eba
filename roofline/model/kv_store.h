// One layer's keys or values, slot after slot: floats, or the first slots as
// floats and the others in codes. Holds the arrays and lets them grow; which
// position lies in which slot is kv_cache.h's business.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <mlx/array.h>

#include "roofline/kernels/kv_codes/kv_codes.h"
#include "roofline/model/kv_memory.h"

namespace roofline {

namespace mx = mlx::core;

/// Who reads the codes.
enum class KvLayout {
  kernels,  ///< ours on the CPU (kernels/kv_codes)
  mlx,      ///< mx::quantized_matmul and mx::dequantize
};

struct KvStoreShape {
  int heads = 0;
  int dims = 0;
  int bits = 16;  ///< 16: floats
  int group_size = 64;
  int full_slots = 0;  ///< the first slots, kept as floats
  KvLayout layout = KvLayout::kernels;
  mx::Dtype dtype = mx::float16;  ///< of the floats
};

class KvStore {
 public:
  explicit KvStore(const KvStoreShape& shape);

  const KvStoreShape& shape() const { return shape_; }
  bool in_codes() const { return !codes_.empty(); }
  int slots() const { return slots_; }
  /// Slots that the float array holds: all of them without codes.
  int float_slots() const { return floats_.shape(2); }
  /// Makes room for so many slots; what is there stays. memory: where to lie,
  /// for kernels that write in place.
  void grow(int slots, KvMemory* memory = nullptr);
  /// What arrays of so many slots take of a KvMemory.
  std::size_t memory_for(int slots) const;

  /// [1, heads, float_slots(), dims]; the caller replaces it after an update.
  mx::array& floats() { return floats_; }
  /// Codes, scales and biases, with slots from float_slots() on along axis 2;
  /// empty without codes. For kernels: u8 [1, heads, slots, row bytes], f16
  /// [1, heads·groups, slots, 1]. For MLX: u32 [1, heads, slots, words] and
  /// [1, heads, slots, groups] in the cache's type.
  std::vector<mx::array>& codes() { return codes_; }
  /// What the CPU's kernels read and write; bits 0 without codes. All arrays
  /// must be evaluated.
  KvCodes view();
  /// The same without memory, of arrays that needn't be evaluated.
  KvCodes sizes() const;
  /// The floats, then the codes, their scales and biases where there are some.
  std::vector<mx::array> arrays() const;

  std::size_t bytes() const;
  bool is_available() const;

 private:
  int floats_of(int slots) const;

  KvStoreShape shape_;
  int slots_ = 0;
  mx::array floats_;
  std::vector<mx::array> codes_;
};

/// Values in codes of MLX's layout, as KvStore::codes(). x: [1, heads, tokens,
/// dims].
std::vector<mx::array> to_codes(const mx::array& x, const KvStoreShape& shape);
/// The values of slots [first, first + count) as `dtype`:
/// [1, heads, count, dims].
mx::array read_slots(KvStore& store, int first, int count, mx::Dtype dtype);

}  // namespace roofline
