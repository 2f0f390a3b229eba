#include "roofline/kernels/kv_codes/kv_codes.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/isas.h"
#include "kernels/packed_helpers.h"
#include "roofline/base/half.h"

namespace roofline {
namespace {

using testing::random_floats;

/// Codes of a few heads and slots, in memory of their own.
struct Store {
  Store(int bits, int group, int dims, int heads = 2, int slots = 3) {
    view.bits = bits;
    view.group = group;
    view.dims = dims;
    view.slots = slots;
    const auto rows = static_cast<std::size_t>(heads * slots);
    codes.assign(rows * static_cast<std::size_t>(view.row_bytes()), 0xaa);
    scales.assign(rows * static_cast<std::size_t>(view.groups()), 0x7e00);
    biases = scales;
    view.codes = codes.data();
    view.scales = scales.data();
    view.biases = biases.data();
  }

  std::vector<std::uint8_t> codes;
  std::vector<std::uint16_t> scales, biases;
  KvCodes view;
};

class KvCodesTest : public testing::EveryIsa {};

INSTANTIATE_TEST_SUITE_P(
    EveryIsa,
    KvCodesTest,
    ::testing::ValuesIn(testing::runnable_isas()),
    testing::isa_test_name);

TEST_P(KvCodesTest, EveryValueComesBackWithinHalfAStep) {
  for (const int bits : {8, 4}) {
    for (const int group : {32, 64}) {
      for (int dims = 1; dims <= 2 * group + 1; ++dims) {
        Store store(bits, group, dims);
        const auto size = static_cast<std::size_t>(dims);
        const auto x = random_floats(size, 31 + dims, 3.0f);
        kv_code_kernels().encode(x.data(), store.view, 1, 2);
        std::vector<float> out(size);
        decode_kv(store.view, 1, 2, out.data());
        for (int g = 0; g < store.view.groups(); ++g) {
          const auto at = static_cast<std::size_t>(
              (store.view.groups() + g) * store.view.slots + 2);
          const float scale = f16_to_f32(store.scales[at]);
          const int end = std::min(dims, (g + 1) * group);
          const auto begin = x.begin() + static_cast<std::ptrdiff_t>(g) * group;
          const auto [low, high] = std::minmax_element(begin, x.begin() + end);
          // The scale is the range's, rounded up in f16, and the bias reaches
          // down by at most 2⁻¹⁰ of itself.
          const float range = *high - *low + std::abs(*low) * 0x1p-10f;
          const float steps = static_cast<float>((1 << bits) - 1);
          EXPECT_LE(scale, range / steps * (1 + 0x1p-9f) + 0x1p-23f);
          for (int d = g * group; d < end; ++d) {
            const auto i = static_cast<std::size_t>(d);
            // Half a step, and float32's rounding of (x − b)/s and s·c + b.
            EXPECT_LE(std::abs(x[i] - out[i]), scale * 0.5005f + 2e-6f)
                << bits << " bits, group " << group << ", dim " << d << " of "
                << dims;
          }
        }
      }
    }
  }
}

TEST_P(KvCodesTest, CodesAreThoseOfTheGenericKernel) {
  for (const int bits : {8, 4}) {
    for (const int dims : {1, 31, 32, 33, 64, 80, 96, 128}) {
      Store one(bits, 32, dims);
      Store other(bits, 32, dims);
      const auto x = random_floats(static_cast<std::size_t>(dims), 7, 2.0f);
      kv_code_kernels().encode(x.data(), one.view, 0, 1);
      kv_code_kernels_generic().encode(x.data(), other.view, 0, 1);
      EXPECT_EQ(one.codes, other.codes);
      EXPECT_EQ(one.scales, other.scales);
      EXPECT_EQ(one.biases, other.biases);
    }
  }
}

TEST_P(KvCodesTest, OnlyTheOneSlotIsWritten) {
  Store store(8, 32, 48);
  const Store before = store;
  const auto x = random_floats(48, 3);
  kv_code_kernels().encode(x.data(), store.view, 1, 0);
  const auto row = static_cast<std::size_t>(store.view.row_bytes());
  for (std::size_t i = 0; i < store.codes.size(); ++i) {
    if (i / row != 3) {
      EXPECT_EQ(store.codes[i], before.codes[i]) << i;
    }
  }
  for (std::size_t i = 0; i < store.scales.size(); ++i) {
    // Head 1, slot 0 of either group.
    const bool own = i == 6 || i == 9;
    EXPECT_EQ(store.scales[i] != before.scales[i], own) << i;
  }
}

TEST_P(KvCodesTest, OneValueAndZerosAreExact) {
  for (const float value : {0.0f, 1.0f, -2.5f, 1024.0f}) {
    Store store(4, 32, 40);
    const std::vector<float> x(40, value);
    kv_code_kernels().encode(x.data(), store.view, 0, 0);
    std::vector<float> out(40, NAN);
    decode_kv(store.view, 0, 0, out.data());
    EXPECT_EQ(out, x);
  }
}

TEST(KvCodes, TheLayoutIsWhatTheHeaderSays) {
  Store store(4, 32, 32, 1, 1);
  std::vector<float> x(32);
  for (std::size_t i = 0; i < x.size(); ++i) {
    x[i] = static_cast<float>(i % 16);
  }
  x[3] = 15;
  kv_code_kernels().encode(x.data(), store.view, 0, 0);
  EXPECT_EQ(f16_to_f32(store.scales[0]), 1.0f);
  EXPECT_EQ(f16_to_f32(store.biases[0]), 0.0f);
  EXPECT_EQ(store.codes[2], 0x22);
  EXPECT_EQ(store.codes[3], 0x3f);
  EXPECT_EQ(store.codes[15], 0xff);
}

}  // namespace
}  // namespace roofline
