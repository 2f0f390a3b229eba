#include "roofline/kernels/gemm/gemm.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "roofline/kernels/aligned_buffer.h"
#include "roofline/kernels/bf16_product/multiply.h"
#include "roofline/kernels/gemm/gemm_bf16.h"
#include "roofline/kernels/gemm/gemm_panels.h"
#include "roofline/kernels/gemm/gemm_variants.h"
#include "roofline/kernels/isa_table.h"

namespace roofline {

namespace {

/// Floats of b in panels at a time: 16 MiB, so that the rest is bounded.
constexpr std::ptrdiff_t kPackedFloats = 4 << 20;
/// Depth after which sums go to memory: a panel's part stays in a first-level
/// cache (48 KiB on AVX-512 processors) while all rows pass over it.
constexpr int kDepth = 160;
/// Rows of a piece: their part of a stays in a second-level cache.
constexpr int kRows = 192;

/// Memory that one thread's products share, grown to the largest.
thread_local AlignedBuffer<float> panels_of_thread;
thread_local AlignedBuffer<float> left_of_thread;

/// The pieces of one block's product: fn(first row, rows, first panel, last).
template <class Fn>
void each_piece(int rows, int panels, ThreadPool& pool, Fn fn) {
  const int row_pieces = (rows + kRows - 1) / kRows;
  // A few panels a piece: few enough pieces to be cheap, enough to balance.
  const int wanted = std::max(1, 8 * pool.threads() / std::max(1, row_pieces));
  const int group = std::max(1, (panels + wanted - 1) / wanted);
  const int groups = (panels + group - 1) / group;
  auto piece = [&](int index, int) {
    const int first_row = index / groups * kRows;
    const int first = index % groups * group;
    fn(first_row,
       std::min(kRows, rows - first_row),
       first,
       std::min(panels, first + group));
  };
  pool.run(row_pieces * groups, piece);
}

/// Where a block's product goes.
struct Target {
  float* c;
  std::ptrdiff_t ldc;
  bool accumulate;
};

void multiply_block(
    const GemmLeft& a,
    int rows,
    const GemmBlock& block,
    const float* packed,
    const GemmKernels& kernels,
    const Target& target,
    ThreadPool& pool) {
  const int panel = kernels.panel;
  const int panels = block.panels(panel);
  each_piece(
      rows,
      panels,
      pool,
      [&](int first_row, int piece_rows, int first, int last) {
        for (int k = 0; k < block.depth; k += kDepth) {
          const GemmLeft part{
              a.data + first_row * a.row_stride + (block.k + k) * a.col_stride,
              a.row_stride,
              a.col_stride};
          for (int p = first; p < last; ++p) {
            kernels.tile(
                part,
                piece_rows,
                packed +
                    (static_cast<std::ptrdiff_t>(p) * block.depth + k) * panel,
                panel,
                std::min(kDepth, block.depth - k),
                std::min(panel, block.width - p * panel),
                target.c + first_row * target.ldc + block.n + p * panel,
                target.ldc,
                target.accumulate || k > 0);
          }
        }
      });
}

/// The same in bfloat16: panels become pairs in place of floats, a's part of
/// the depth is rounded once.
void multiply_block_bf16(
    const GemmLeft& a,
    int rows,
    const GemmBlock& block,
    float* packed,
    const GemmKernels& kernels,
    const GemmBf16Kernels& bf16,
    const Target& target,
    ThreadPool& pool) {
  const int panel = kernels.panel;
  const int panels = block.panels(panel);
  const int pairs = (block.depth + 1) / 2;
  auto round_panel = [&](int p, int) {
    float* at = packed + static_cast<std::ptrdiff_t>(p) * block.depth * panel;
    // Row pairs shrink to half: no row is written before it was read.
    bf16.round_panel(
        at,
        block.depth,
        panel,
        reinterpret_cast<std::uint32_t*>(at));
  };
  pool.run(panels, round_panel);
  auto* left = reinterpret_cast<std::uint32_t*>(floats_of(
      left_of_thread,
      static_cast<std::size_t>(rows) * static_cast<std::size_t>(pairs)));
  constexpr int kPiece = 32;
  auto round_rows = [&](int index, int) {
    const int end = std::min(rows, (index + 1) * kPiece);
    for (int row = index * kPiece; row < end; ++row) {
      bf16.round_row(
          a.data + row * a.row_stride + block.k,
          block.depth,
          left + std::ptrdiff_t{row} * pairs);
    }
  };
  pool.run((rows + kPiece - 1) / kPiece, round_rows);
  each_piece(
      rows,
      panels,
      pool,
      [&](int first_row, int piece_rows, int first, int last) {
        for (int k = 0; k < pairs; k += kDepth) {
          for (int p = first; p < last; ++p) {
            const auto* right = reinterpret_cast<const std::uint32_t*>(
                packed + static_cast<std::ptrdiff_t>(p) * block.depth * panel);
            PairProduct product;
            product.a = left + std::ptrdiff_t{first_row} * pairs;
            product.lda = pairs;
            product.b = right;
            product.ldb = panel;
            product.c = target.c + first_row * target.ldc + block.n + p * panel;
            product.ldc = target.ldc;
            product.rows = piece_rows;
            product.columns = std::min(panel, block.width - p * panel);
            product.accumulate = target.accumulate;
            bf16.tile(product.of_pairs(k, std::min(kDepth, pairs - k)));
          }
        }
      });
}

}  // namespace

PackedMatrix float_matrix(const float* data, int rows, int cols) {
  return {
      {PackedFormat::f32},
      rows,
      cols,
      1.0f,
      reinterpret_cast<const std::byte*>(data)};
}

namespace {

constexpr IsaTable<GemmKernels> kVariants{
    gemm_generic,
    ROOFLINE_ON_X86(gemm_avx2),
    ROOFLINE_ON_X86(gemm_avx512),
    ROOFLINE_ON_ARM(gemm_neon)};

}  // namespace

const GemmKernels* gemm_kernels(Isa isa) {
  return kVariants.find(isa);
}

const GemmBf16Kernels* gemm_bf16_kernels() {
#if defined(__x86_64__)
  static const bool known = __builtin_cpu_supports("avx512bf16");
  switch (active_isa()) {
    case Isa::amx:
      return isa_runs(Isa::amx) ? &gemm_bf16_amx() : &gemm_bf16_emulated_amx();
    case Isa::avx512:
      return known ? &gemm_bf16_avx512() : nullptr;
    default:
      return nullptr;
  }
#elif defined(__aarch64__)
  return active_isa() == Isa::i8mm ? &gemm_bf16_i8mm() : nullptr;
#else
  return nullptr;
#endif
}

namespace {

/// Products that need no panels of b in floats before: its matrix is decoded
/// into tiles at once.
bool fits_tiles(
    const GemmLeft& a,
    int rows,
    const GemmRight& b,
    GemmResult result,
    GemmType type) {
  return type == GemmType::bf16 && a.col_stride == 1 &&
         rows >= kTiledLeastTokens && b.depth() > 0 &&
         result == GemmResult::replace &&
         (b.leading == 0 || b.leading == b.w.cols) &&
         bf16_product_kernels() != nullptr;
}

}  // namespace

bool has_bf16_gemm() {
  return gemm_bf16_kernels() != nullptr;
}

const GemmKernels& gemm_kernels() {
  return kVariants.active();
}

void gemm(
    const GemmLeft& a,
    int rows,
    const GemmRight& b,
    float* c,
    std::ptrdiff_t ldc,
    GemmResult result,
    ThreadPool& pool,
    GemmType type) {
  if (fits_tiles(a, rows, b, result, type)) {
    multiply_on_tiles(
        b.w,
        b.transposed ? TileProduct::straight : TileProduct::back,
        a.data,
        a.row_stride,
        rows,
        c,
        static_cast<int>(ldc),
        pool);
    return;
  }
  const GemmKernels& kernels = gemm_kernels();
  const GemmBf16Kernels* bf16 = type == GemmType::bf16 && a.col_stride == 1
                                    ? gemm_bf16_kernels()
                                    : nullptr;
  const int panel = kernels.panel;
  const int width = b.width();
  // Blocks as deep as the whole depth while a few panels fit.
  const int most_depth = static_cast<int>(
      std::min<std::ptrdiff_t>(b.depth(), kPackedFloats / (8 * panel)));
  const int most_width = static_cast<int>(std::max<std::ptrdiff_t>(
                             8,
                             kPackedFloats / std::max(1, most_depth) / panel)) *
                         panel;
  if (b.depth() == 0 && result == GemmResult::replace) {
    for (int r = 0; r < rows; ++r) {
      std::fill_n(c + r * ldc, width, 0.0f);
    }
  }
  for (int n = 0; n < width; n += most_width) {
    for (int k = 0; k < b.depth(); k += most_depth) {
      const GemmBlock block{
          k,
          std::min(most_depth, b.depth() - k),
          n,
          std::min(most_width, width - n)};
      const int panels = block.panels(panel);
      float* packed = floats_of(
          panels_of_thread,
          static_cast<std::size_t>(panels) * panel *
              static_cast<std::size_t>(block.depth));
      pack_panels(b, block, kernels, packed, pool);
      const Target target{c, ldc, result == GemmResult::add || k > 0};
      if (bf16 != nullptr) {
        multiply_block_bf16(
            a,
            rows,
            block,
            packed,
            kernels,
            *bf16,
            target,
            pool);
      } else {
        multiply_block(a, rows, block, packed, kernels, target, pool);
      }
    }
  }
}

}  // namespace roofline
