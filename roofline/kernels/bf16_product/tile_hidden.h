// A feed-forward's hidden activations on tiles: both products 32 columns at a
// time in turn, so that sums become activations, and these the tiles that the
// down product reads, while they are in the cache.
// Included by files compiled for AMX only.
#pragma once

#include "roofline/kernels/bf16_product/bf16_product_impl.h"
#include "roofline/kernels/norm_rope/norm_rope.h"

namespace roofline {
namespace {

constexpr int kHalfPair = kPairFloats / 2;  ///< 16 tokens' sums

/// g·σ(g)·u within 2e-4 of it, a tenth of what rounding it to bfloat16 may
/// change: 2^f is interpolated on [0, 1), and a reciprocal has 14 bits.
inline __m512 gated_silu(__m512 g, __m512 u) {
  constexpr int kFloor = _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC;
  const __m512 x = _mm512_mul_ps(g, _mm512_set1_ps(-1.44269504f));
  const __m512 f = _mm512_reduce_ps(x, kFloor);
  __m512 p = _mm512_set1_ps(7.8024567e-2f);
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(2.2606720e-1f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(6.9583344e-1f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(9.9992526e-1f));
  const __m512 sum =
      _mm512_add_ps(_mm512_scalef_ps(p, x), _mm512_set1_ps(1.0f));
  return _mm512_mul_ps(_mm512_mul_ps(g, u), _mm512_rcp14_ps(sum));
}

/// A pair's sums as tiles of activations; gate: nullptr, or its sums. `tiles`
/// of 16 tokens, to[0] and to[1].
inline void activate_pair(
    Activation activation,
    const float* gate,
    float* up,
    int tiles,
    std::uint16_t* const* to) {
  const bool silu = activation == Activation::silu && gate != nullptr;
  if (!silu) {
    row_kernels().activate(
        activation,
        gate != nullptr ? gate : up,
        gate != nullptr ? up : nullptr,
        tiles * kHalfPair,
        up);
  }
  for (int i = 0; i < tiles; ++i) {
    for (int r = 0; r < kTileRows; ++r) {
      const int at = i * kHalfPair + r * kTileCols;
      __m512 low = _mm512_load_ps(up + at);
      __m512 high = _mm512_load_ps(up + at + kPairFloats / 4);
      if (silu) {
        low = gated_silu(_mm512_load_ps(gate + at), low);
        high = gated_silu(_mm512_load_ps(gate + at + kPairFloats / 4), high);
      }
      _mm512_storeu_si512(to[i] + r * kTileDepth, rounded_pairs(low, high));
    }
  }
}

/// Adds a bias for each of some columns of a pair's sums.
inline void add_bias(const float* bias, int cols, int tiles, float* sums) {
  const Vec low = Vec::load(bias, std::min(cols, kTileCols));
  const Vec high =
      Vec::load(bias + kTileCols, std::clamp(cols - kTileCols, 0, kTileCols));
  for (int i = 0; i < tiles; ++i, sums += kHalfPair) {
    for (int r = 0; r < kTileRows * kTileCols; r += kTileCols) {
      (Vec::load(sums + r) + low).store(sums + r);
      float* second = sums + kPairFloats / 4 + r;
      (Vec::load(second) + high).store(second);
    }
  }
}

/// The same for few tokens, by codes.
template <class Tiles>
void coded_hidden(
    const TiledHidden& hidden,
    const ProductPiece& piece,
    const RoundedRows& x,
    const RoundedRows& out) {
  const int tokens = piece.token_end - piece.token_begin;
  const int pairs = block_pairs(piece);
  const int tiles = (tokens + kTileRows - 1) / kTileRows;
  const TiledSums sums = waiting_sums(TiledSums::kTokens, 2 * pairs);
  const auto product = [&](const PackedMatrix& w, float* to) {
    coded_product<Tiles>(
        w,
        piece.block_begin,
        piece.block_end,
        x.from(piece.token_begin),
        tokens,
        kTileCols,
        [&](int block, int t) {
          const int own = block - piece.block_begin;
          return to + std::ptrdiff_t{own / 2} * kPairFloats +
                 own % 2 * (kPairFloats / 4) + t / kTileRows * kHalfPair;
        });
  };
  float* gate = hidden.gate != nullptr ? sums.data : nullptr;
  float* up = sums.data + std::ptrdiff_t{pairs} * kPairFloats;
  std::fill_n(sums.data, 2 * std::ptrdiff_t{pairs} * kPairFloats, 0.0f);
  if (gate != nullptr) {
    product(*hidden.gate, gate);
  }
  product(*hidden.up, up);
  const RoundedRows own = out.from(piece.token_begin);
  for (int i = 0; i < pairs; ++i, up += kPairFloats) {
    const int row = (piece.block_begin + 2 * i) * kRowBlock;
    const int cols = hidden.up->rows - row;
    if (hidden.up_bias != nullptr) {
      add_bias(hidden.up_bias + row, cols, tiles, up);
    }
    if (gate != nullptr && hidden.gate_bias != nullptr) {
      add_bias(hidden.gate_bias + row, cols, tiles, gate);
    }
    const int col = piece.block_begin / 2 + i;
    std::uint16_t* const to[] = {
        own.tile(0, col),
        tiles > 1 ? own.tile(1, col) : nullptr};
    activate_pair(hidden.activation, gate, up, tiles, to);
    if (gate != nullptr) {
      gate += kPairFloats;
    }
  }
}

template <class Tiles>
void tile_hidden(
    const TiledHidden& hidden,
    const ProductPiece& piece,
    const RoundedRows& x,
    const RoundedRows& out) {
  const int few = piece.token_end - piece.token_begin;
  if (fits_codes(*hidden.up, few) &&
      (hidden.gate == nullptr || fits_codes(*hidden.gate, few))) {
    coded_hidden<Tiles>(hidden, piece, x, out);
    return;
  }
  // Pieces of columns: the gate's and then up's, of the same rows.
  const int sides = hidden.gate != nullptr ? 2 : 1;
  const auto matrix = [&](int i) -> const PackedMatrix& {
    return i % sides + 1 == sides ? *hidden.up : *hidden.gate;
  };
  const auto block = [&](int i) {
    return piece.block_begin + kPairBlocks * (i / sides);
  };
  const DecodeTiles decoders[] = {
      tile_decoder(matrix(0).format),
      tile_decoder(hidden.up->format)};
  const TiledProduct product{
      [&](int i, int k, int end, std::ptrdiff_t next, std::uint32_t* to) {
        const DecodeTiles decode = decoders[i % sides];
        const int last = piece.block_end;
        decode_pair(matrix(i), decode, block(i), last, k, end, next, to);
      },
      [&](int i) {
        const bool up = i % sides + 1 == sides;
        const float* bias = up ? hidden.up_bias : hidden.gate_bias;
        const int row = block(i) * kRowBlock;
        return ColumnBias{
            bias != nullptr ? bias + row : nullptr,
            hidden.up->rows - row};
      },
      [&](int i, int k, int end) {
        return codes_of_pair(matrix(i), block(i), k, end);
      }};
  const int pieces = sides * block_pairs(piece);
  for (int t = piece.token_begin; t < piece.token_end; t += kTiledTokens) {
    const int tokens = std::min(kTiledTokens, piece.token_end - t);
    const RoundedRows own = out.from(t);
    const std::ptrdiff_t gate_to_up =
        std::ptrdiff_t{(tokens + 31) / 32} * kPairFloats;
    for (int i = 0; i < pieces; i += kTiledPairs) {
      const int end = std::min(pieces, i + kTiledPairs);
      sum_tiles<Tiles>(
          product,
          i,
          end,
          x.from(t),
          tokens,
          waiting_sums(tokens, end - i),
          [&](Tiles& tiles, TileStep& step, const SumsOfTokens& sums) {
            const NextAhead next = next_ahead(step, sums);
            if (sums.piece % sides + 1 < sides) {
              add_to_waiting(tiles, step, sums, next);
              return;
            }
            const int tile = sums.token / kTileRows;
            const int col = block(sums.piece) / kPairBlocks;
            const int count = sums.tokens > kTileRows ? 2 : 1;
            std::uint16_t* const to[] = {
                own.tile(tile, col),
                count > 1 ? own.tile(tile + 1, col) : nullptr};
            constexpr int kLines = kTileRows / 2;
            const auto of = [&](const std::uint16_t* at) {
              return LinesAhead::of(at, 2 * kTileBytes, kLines, step.depth);
            };
            const LinesAhead first = of(to[0]);
            const LinesAhead second = of(to[count - 1]);
            add_to_waiting(tiles, step, sums, [&](int k) {
              next(k);
              first(k);
              second(k);
            });
            activate_pair(
                hidden.activation,
                sides > 1 ? sums.waiting - gate_to_up : nullptr,
                sums.waiting,
                count,
                to);
          });
    }
  }
}

template <class Tiles>
constexpr Bf16ProductKernels bf16_product_of() {
  return {
      round_tokens,
      tile_product<Tiles>,
      tile_product_back<Tiles>,
      tile_hidden<Tiles>};
}

}  // namespace
}  // namespace roofline
