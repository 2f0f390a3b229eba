// Random packed matrices for the kernel tests, made without any checkpoint.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "roofline/base/half.h"
#include "roofline/kernels/packed_matrix.h"

namespace roofline::testing {

/// Owns 64-byte aligned memory.
class AlignedBytes {
 public:
  explicit AlignedBytes(std::size_t size) : storage_(size + 64), size_(size) {
    auto at = reinterpret_cast<std::uintptr_t>(storage_.data());
    offset_ = (64 - at % 64) % 64;
  }
  std::byte* data() { return storage_.data() + offset_; }
  std::span<std::byte> span() { return {data(), size_}; }

 private:
  std::vector<std::byte> storage_;
  std::size_t size_;
  std::size_t offset_ = 0;
};

enum class Codes { random, all_max, all_zero };

struct RandomMatrix {
  RandomMatrix(
      const PackedForm& form,
      int rows,
      int cols,
      unsigned seed,
      float scale = 0.01f,
      Codes codes = Codes::random)
      : memory(packed_bytes(form, rows, cols)) {
    static_cast<PackedForm&>(matrix) = form;
    matrix.rows = rows;
    matrix.cols = cols;
    matrix.data = memory.data();
    std::mt19937 random(seed);
    if (has_table(form.format)) {
      for (std::uint8_t& value : matrix.table) {
        value = static_cast<std::uint8_t>(random());
      }
    }
    for (int block = 0; block < matrix.row_blocks(); ++block) {
      const BlockGroups groups = matrix.block_groups(block);
      for (int group = 0; group < matrix.groups(); ++group) {
        std::byte* at = writable(groups.codes(group));
        for (int i = 0; i < groups.code_bytes; ++i) {
          at[i] = codes == Codes::random    ? static_cast<std::byte>(random())
                  : codes == Codes::all_max ? std::byte{0xff}
                                            : std::byte{0};
        }
        for (int set = 0; set < scale_sets(form.format); ++set) {
          fill_set(
              writable(groups.scales(group, set)),
              rows - block * kRowBlock,
              scale,
              random);
        }
      }
    }
  }

  /// A place in the matrix, to write to.
  std::byte* writable(const std::byte* at) {
    return memory.data() + (at - matrix.data);
  }

  PackedMatrix matrix;
  AlignedBytes memory;

 private:
  void fill_set(std::byte* at, int rows, float scale, std::mt19937& random) {
    std::uniform_real_distribution<float> uniform(-1, 1);
    std::uint16_t halves[2 * kRowBlock];
    for (int r = 0; r < kRowBlock; ++r) {
      const bool real = r < rows;
      halves[r] = f32_to_f16(real ? scale * uniform(random) : 0.0f);
      halves[kRowBlock + r] =
          f32_to_f16(real ? 8 * scale * uniform(random) : 0.0f);
    }
    std::memcpy(at, halves, static_cast<std::size_t>(matrix.set_bytes()));
  }
};

inline std::vector<float> random_floats(
    std::size_t count,
    unsigned seed,
    float scale = 1.0f) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> values(count);
  for (float& value : values) {
    value = normal(random);
  }
  return values;
}

}  // namespace roofline::testing
