#include "roofline/kernels/gemm/gemm_panels.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "roofline/base/half.h"

namespace roofline {

namespace {

/// Rows on their way into panels; one memory a thread, grown to the largest.
thread_local AlignedBuffer<float> rows_of_thread;

/// Columns [begin, begin + count) of a row, decoded.
void read_part(
    const GemmRight& b,
    int row,
    int begin,
    int count,
    float* out,
    std::span<float> whole) {
  const PackedMatrix& w = b.w;
  if (w.quantized()) {
    read_packed_row(w, row, whole);
    std::copy_n(whole.data() + begin, count, out);
    return;
  }
  const auto leading = b.leading != 0 ? b.leading : std::ptrdiff_t{w.cols};
  const std::ptrdiff_t at = row * leading + begin;
  if (w.format == PackedFormat::f32) {
    std::memcpy(out, w.data + 4 * at, 4 * static_cast<std::size_t>(count));
    return;
  }
  const std::byte* from = w.data + 2 * at;
  if (w.format == PackedFormat::bf16) {
    for (int i = 0; i < count; ++i) {
      std::uint16_t half = 0;
      std::memcpy(&half, from + 2 * i, 2);
      const std::uint32_t bits = std::uint32_t{half} << 16;
      std::memcpy(out + i, &bits, 4);
    }
    return;
  }
  for (int i = 0; i < count; ++i) {
    std::uint16_t half = 0;
    std::memcpy(&half, from + 2 * i, 2);
    out[i] = f16_to_f32(half);
  }
}

/// Quantized rows are decoded a block at a time where blocks lie in panels.
bool unpacks(const GemmRight& b, const GemmKernels& kernels) {
  return b.w.quantized() && kernels.panel % kRowBlock == 0;
}

/// As pack_straight; a block of 16 rows and 32 columns at a time.
void unpack_straight(
    const GemmRight& b,
    const GemmBlock& block,
    const GemmKernels& kernels,
    float* out,
    ThreadPool& pool) {
  const int panel = kernels.panel;
  const int panels = block.panels(panel);
  auto piece = [&](int index, int) {
    const int k = index * kRowBlock;
    const int rows = std::min(kRowBlock, block.depth - k);
    float columns[kGroup * kRowBlock];
    for (int n = 0; n < panels * panel; n += kGroup) {
      if (n < block.width) {
        kernels.unpack(
            b.w,
            (block.k + k) / kRowBlock,
            (block.n + n) / kGroup,
            columns,
            kRowBlock);
      } else {
        std::fill_n(columns, kGroup * kRowBlock, 0.0f);
      }
      for (int c = 0; c < kGroup; c += kRowBlock) {
        if (n + c >= panels * panel) {
          break;
        }
        const int p = (n + c) / panel;
        for (int r = 0; r < rows; ++r) {
          float* to =
              out +
              (static_cast<std::ptrdiff_t>(p) * block.depth + k + r) * panel +
              (n + c) % panel;
          for (int i = 0; i < kRowBlock; ++i) {
            to[i] = columns[(c + i) * kRowBlock + r];
          }
        }
      }
    }
  };
  pool.run((block.depth + kRowBlock - 1) / kRowBlock, piece);
}

/// b's rows follow the depth: each is dealt out to all panels.
void pack_straight(
    const GemmRight& b,
    const GemmBlock& block,
    int panel,
    float* out,
    ThreadPool& pool) {
  constexpr int kPiece = 16;
  const int panels = block.panels(panel);
  const auto padded = static_cast<std::size_t>(panels * panel);
  const auto cols = static_cast<std::size_t>(b.w.cols);
  auto piece = [&](int index, int) {
    float* row = floats_of(rows_of_thread, padded + cols);
    std::fill(row + block.width, row + padded, 0.0f);
    const int end = std::min(block.depth, (index + 1) * kPiece);
    for (int k = index * kPiece; k < end; ++k) {
      read_part(
          b,
          block.k + k,
          block.n,
          block.width,
          row,
          {row + padded, cols});
      for (int p = 0; p < panels; ++p) {
        std::memcpy(
            out + (static_cast<std::ptrdiff_t>(p) * block.depth + k) * panel,
            row + p * panel,
            sizeof(float) * static_cast<std::size_t>(panel));
      }
    }
  };
  pool.run((block.depth + kPiece - 1) / kPiece, piece);
}

/// b's rows are the columns: a panel's worth of them is turned.
void pack_turned(
    const GemmRight& b,
    const GemmBlock& block,
    const GemmKernels& kernels,
    float* out,
    ThreadPool& pool) {
  const int panel = kernels.panel;
  const auto depth = static_cast<std::size_t>(block.depth);
  const auto cols = static_cast<std::size_t>(b.w.cols);
  const bool in_place = b.w.format == PackedFormat::f32;
  const bool by_blocks = unpacks(b, kernels);
  const auto leading = b.leading != 0 ? b.leading : std::ptrdiff_t{b.w.cols};
  auto piece = [&](int p, int) {
    const int first = block.n + p * panel;
    const int count = std::min(panel, block.n + block.width - first);
    float* to = out + static_cast<std::ptrdiff_t>(p) * block.depth * panel;
    if (by_blocks) {
      for (int r = 0; r < panel; r += kRowBlock) {
        const int row_block = (first + r) / kRowBlock;
        for (int k = 0; k < block.depth; k += kGroup) {
          float* at = to + std::ptrdiff_t{k} * panel + r;
          if (row_block < b.w.row_blocks()) {
            kernels.unpack(b.w, row_block, (block.k + k) / kGroup, at, panel);
            continue;
          }
          for (int i = 0; i < kGroup; ++i) {
            std::fill_n(at + std::ptrdiff_t{i} * panel, kRowBlock, 0.0f);
          }
        }
      }
      return;
    }
    if (in_place) {
      const auto* from = reinterpret_cast<const float*>(b.w.data);
      kernels.turn(
          from + first * leading + block.k,
          leading,
          count,
          block.depth,
          to);
      return;
    }
    float* rows = floats_of(
        rows_of_thread,
        static_cast<std::size_t>(panel) * depth + cols);
    for (int r = 0; r < count; ++r) {
      read_part(
          b,
          first + r,
          block.k,
          block.depth,
          rows + static_cast<std::size_t>(r) * depth,
          {rows + static_cast<std::size_t>(panel) * depth, cols});
    }
    kernels.turn(rows, block.depth, count, block.depth, to);
  };
  pool.run(block.panels(panel), piece);
}

}  // namespace

void pack_panels(
    const GemmRight& b,
    const GemmBlock& block,
    const GemmKernels& kernels,
    float* out,
    ThreadPool& pool) {
  if (b.transposed) {
    pack_turned(b, block, kernels, out, pool);
  } else if (unpacks(b, kernels)) {
    unpack_straight(b, block, kernels, out, pool);
  } else {
    pack_straight(b, block, kernels.panel, out, pool);
  }
}

}  // namespace roofline
