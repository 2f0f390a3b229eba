// Four bytes a lane: how attention for a few rows reads codes, in portable
// code. A block is 16 bytes of a slot and four lanes of a vector. Blocks of
// four slots, in four vectors, are turned so that a lane has four bytes of one
// slot (keys), or one byte of four slots (values); a vector of several blocks
// has those of successive bytes of a slot, of more slots, or of both. Products
// are of pairs of 16 bits, summed in 32. The same interface in
// code_lanes_avx2.h, code_lanes_avx512.h and code_lanes_neon.h. Included only
// by instantiating files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace roofline {
namespace {

template <class V>
struct PortableLanes {
  using CodeLanes = PortableLanes;
  static constexpr int kWidth = V::kWidth;
  /// Rows whose sums of values fit into the registers, and in how many parts.
  static constexpr int kValueRows = 2;
  static constexpr int kParts = 1;
  /// Sums of each row of scores that are under way at a time.
  static constexpr int kChains = 2;
  static_assert(kWidth == 4, "one block of four lanes");

  std::uint32_t lane[kWidth];

  static CodeLanes zero() { return {}; }
  /// BLOCKS successive blocks of a slot, then those of slots so many bytes
  /// apart.
  template <int BLOCKS>
  static CodeLanes load_blocks(
      const std::uint8_t* from,
      std::ptrdiff_t /*apart*/) {
    CodeLanes x;
    std::memcpy(x.lane, from, sizeof x.lane);
    return x;
  }
  void store(std::int32_t* to) const { std::memcpy(to, lane, sizeof lane); }
  static CodeLanes all(std::int32_t value) {
    CodeLanes x;
    for (auto& each : x.lane) {
      each = static_cast<std::uint32_t>(value);
    }
    return x;
  }

  /// Vector j: bytes 4j … 4j + 3 of slot l in lane l.
  static void turn_to_slots(CodeLanes* x) {
    CodeLanes turned[4];
    for (int i = 0; i < 4; ++i) {
      for (int j = 0; j < 4; ++j) {
        turned[j].lane[i] = x[i].lane[j];
      }
    }
    std::memcpy(x, turned, sizeof turned);
  }
  /// Vector j: in lane l of each block byte 4j + l of its four slots.
  static void turn_to_bytes(CodeLanes* x) {
    CodeLanes turned[4] = {};
    for (int j = 0; j < 4; ++j) {
      for (int l = 0; l < 4; ++l) {
        for (int i = 0; i < 4; ++i) {
          const std::uint32_t byte = x[i].lane[j] >> 8 * l & 255;
          turned[j].lane[l] |= byte << 8 * i;
        }
      }
    }
    std::memcpy(x, turned, sizeof turned);
  }

  /// Codes of bytes 0 and 2, or 1 and 3, of each lane as 16 bits: of 4 bits
  /// those in the low (HALF 0) or the high half.
  template <int BITS, int HALF>
  CodeLanes even() const {
    return shifted<BITS>(4 * HALF);
  }
  template <int BITS, int HALF>
  CodeLanes odd() const {
    return shifted<BITS>(8 + 4 * HALF);
  }
  /// Of weights of 16 bits, a lane each, the first and third of each block as
  /// a pair, and its second and fourth: [kWidth / 4, 2].
  void store_pairs(std::int32_t* to) const {
    for (int i = 0; i < 2; ++i) {
      to[i] = static_cast<std::int32_t>((lane[i] & 65535) | lane[i + 2] << 16);
    }
  }
  /// Pairs for blocks as load_blocks<BLOCKS>() has them, whose bytes belong to
  /// GROUPS groups: the same pair in each lane of a block. from: of the first
  /// four slots and the first group; those of the next four are two further.
  template <int BLOCKS, int GROUPS>
  static CodeLanes spread_pairs(
      const std::int32_t* from,
      int /*groups_apart*/) {
    return all(*from);
  }

  /// sums + a·b of both 16 bits; those of a are signed.
  static CodeLanes add_products(CodeLanes sums, CodeLanes a, CodeLanes b) {
    for (int i = 0; i < kWidth; ++i) {
      const auto low = [](std::uint32_t x) {
        return static_cast<std::int32_t>(static_cast<std::int16_t>(x & 65535));
      };
      const std::int32_t sum = low(a.lane[i]) * low(b.lane[i]) +
                               low(a.lane[i] >> 16) * low(b.lane[i] >> 16);
      sums.lane[i] += static_cast<std::uint32_t>(sum);
    }
    return sums;
  }
  friend CodeLanes operator+(CodeLanes a, CodeLanes b) {
    for (int i = 0; i < kWidth; ++i) {
      a.lane[i] += b.lane[i];
    }
    return a;
  }

  /// The nearest whole numbers, within 16 bits.
  static CodeLanes rounded(V x) {
    float floats[kWidth];
    min(max(round(x), V::all(-32767.0f)), V::all(32767.0f)).store(floats);
    CodeLanes out;
    for (int i = 0; i < kWidth; ++i) {
      out.lane[i] =
          static_cast<std::uint32_t>(static_cast<std::int32_t>(floats[i]));
    }
    return out;
  }
  V floats() const {
    float out[kWidth];
    for (int i = 0; i < kWidth; ++i) {
      out[i] = static_cast<float>(static_cast<std::int32_t>(lane[i]));
    }
    return V::load(out);
  }
  /// Four vectors of values, turned, summed over slots: 16 dims for each of
  /// BLOCKS, in order.
  template <int BLOCKS>
  static void sum_blocks(const CodeLanes* x, V* sums) {
    for (int j = 0; j < 4; ++j) {
      sums[j] = x[j].floats();
    }
  }

 private:
  template <int BITS>
  CodeLanes shifted(int by) const {
    constexpr std::uint32_t kMask = BITS == 8 ? 0x00ff00ff : 0x000f000f;
    CodeLanes x;
    for (int i = 0; i < kWidth; ++i) {
      x.lane[i] = lane[i] >> by & kMask;
    }
    return x;
  }
};

}  // namespace
}  // namespace roofline
