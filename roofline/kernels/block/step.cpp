#include "roofline/kernels/block/step.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "roofline/kernels/block/step_run.h"

namespace roofline {

/// Embeddings into x, and the cosines and sines of every position.
void StepRun::start() {
  each_slice_token([&](const StepSlice& slice, int t, int in_slice) {
    float* x = row(s_.x, t, model_.dim);
    read_packed_row(
        model_.embed,
        ids_[static_cast<std::size_t>(t)],
        {x, static_cast<std::size_t>(model_.dim)});
    if (model_.embedding_scale != 1.0f) {
      kernels_.rows->scale_and_cap(x, model_.embedding_scale, 0, model_.dim);
    }
    float* table = s_.rope.data();
    for (std::size_t i = 0; i < model_.ropes.size(); ++i) {
      const StepRope& rope = model_.ropes[i];
      float* cos = table + std::ptrdiff_t{2} * t * rope.rotated_dims;
      fill_rope_row(
          (*slice.regimes)[i],
          rope.layout,
          slice.first_position + in_slice,
          cos,
          cos + rope.rotated_dims);
      table += std::ptrdiff_t{2} * tokens_ * rope.rotated_dims;
    }
  });
}

/// normed := norm(x), in codes too if asked for; on tiles in nothing else.
void StepRun::norm_input(
    int t,
    const StepLayer& layer,
    const std::optional<StepNorm>& before,
    bool codes) {
  const float* x = row(s_.x, t, model_.dim);
  thread_local AlignedBuffer<float> kept_by_none;
  kept_by_none.grow(static_cast<std::size_t>(model_.dim));
  float* normed = tiles_ ? kept_by_none.data() : row(s_.normed, t, model_.dim);
  if (before) {
    norm(*before, x, model_.dim, normed);
  } else {
    std::memcpy(
        normed,
        x,
        sizeof(float) * static_cast<std::size_t>(model_.dim));
  }
  if (tiles_) {
    kernels_.bf16
        ->round(normed, model_.dim, t, 0, rounded(s_.normed_tiles, model_.dim));
  } else if (codes) {
    StepInput input = normed_input(trims());
    quantize(t, input, octaves(layer, kNormedOctaves));
  }
}

/// x += residual_scale · post_norm(y)
void StepRun::join(
    const StepLayer& layer,
    const std::optional<StepNorm>& post_norm,
    int t) {
  float* y = row(s_.y, t, model_.dim);
  if (post_norm) {
    norm(*post_norm, y, model_.dim, y);
  }
  kernels_.rows
      ->add(row(s_.x, t, model_.dim), y, layer.residual_scale, model_.dim);
}

/// One piece of act(x·gateᵀ) ∘ (x·upᵀ) on tiles, left where the down product
/// reads it.
void StepRun::hidden_tiles_piece(
    const StepFeedForward& ff,
    const ProductPiece& piece,
    const RoundedRows& input) {
  const auto bias = [](const StepLinear& linear) {
    return linear.bias.empty() ? nullptr : linear.bias.data();
  };
  kernels_.bf16->hidden(
      {ff.gate.parts.empty() ? nullptr : &ff.gate.parts[0],
       &ff.up.parts[0],
       bias(ff.gate),
       bias(ff.up),
       ff.activation},
      piece,
      input,
      rounded(s_.hidden_tiles, ff.down.cols()));
}

/// The same without tiles, token by token.
void StepRun::hidden_piece(
    const StepFeedForward& ff,
    const ProductPiece& piece,
    const StepInput& input,
    float* gate,
    float* up) {
  const int cols = ff.up.cols();
  const int hidden = ff.down.cols();
  const int row_begin = piece.block_begin * kRowBlock;
  const int tokens = piece.token_end - piece.token_begin;
  const int width = (piece.block_end - piece.block_begin) * kRowBlock;
  const int rows = std::min(hidden - row_begin, width);
  const StepInput own =
      token_rows(input, piece.token_begin, piece.token_end, cols);
  const ProductPiece all{0, piece.block_end - piece.block_begin, 0, tokens};
  const bool gated = !ff.gate.parts.empty();
  const auto product = [&](const StepLinear& linear, float* y) {
    product_piece(
        kernels_,
        block_rows(linear.parts[0], piece.block_begin, piece.block_end),
        all,
        own,
        y,
        width);
    for (int t = 0; t < tokens && !linear.bias.empty(); ++t) {
      kernels_.rows->add(
          y + static_cast<std::ptrdiff_t>(t) * width,
          linear.bias.data() + row_begin,
          1.0f,
          rows);
    }
  };
  if (gated) {
    product(ff.gate, gate);
  }
  product(ff.up, up);
  const bool in_float = hidden_in_float(model_, ff);
  for (int t = 0; t < tokens; ++t) {
    const std::ptrdiff_t at = static_cast<std::ptrdiff_t>(t) * width;
    const std::ptrdiff_t token = piece.token_begin + t;
    float* out =
        in_float ? s_.hidden.data() + token * hidden + row_begin : up + at;
    kernels_.rows->activate(
        ff.activation,
        gated ? gate + at : up + at,
        gated ? up + at : nullptr,
        rows,
        out);
    if (!in_float) {
      const QuantizedRows codes = s_.hidden_codes.rows(tokens_, hidden);
      kernels_.qmm->quantize(
          out,
          0,
          1,
          token_columns(codes, piece.token_begin + t, row_begin, rows));
    }
  }
}

/// What the pieces of the hidden activations left, as the down product reads
/// it.
StepInput StepRun::hidden_input(const StepLayer& layer) {
  const StepFeedForward& ff = layer.feed_forward;
  const bool in_float = hidden_in_float(model_, ff);
  const bool trimmed = !in_float && !tiles_ && trims();
  const StepInput down{
      in_float ? s_.hidden.data() : nullptr,
      s_.hidden_codes.rows(tokens_, ff.down.cols(), trimmed),
      rounded(s_.hidden_tiles, ff.down.cols())};
  if (trimmed) {
    // Only now: a piece doesn't see the scales of the whole row.
    const float own = octaves(layer, kInnerOctaves);
    each_token(tokens_, [&](int t) { trim(t, down.quantized, own); });
  }
  return down;
}

/// Ends the attention sub-layer and leaves the feed-forward's output in y.
void StepRun::feed_forward(const StepLayer& layer) {
  const StepFeedForward& ff = layer.feed_forward;
  const bool parallel = layer.placement == NormPlacement::parallel;
  const bool codes = wants_codes(ff.up) || wants_codes(ff.gate);
  each_token(tokens_, [&](int t) {
    join(layer, layer.attention_post_norm, t);
    if (!parallel) {
      norm_input(t, layer, layer.feed_forward_norm, codes);
    }
  });
  lap(StepOp::norm);
  StepInput input = normed_input(trims());
  input.quantized.stamp = new_stamp();
  const ProductGrid grid = hidden_grid(ff, tokens_, pool_.threads(), tiles_);
  const int width = grid.block_step() * kRowBlock;
  const std::size_t tile = tiles_
                               ? 0
                               : static_cast<std::size_t>(grid.token_step()) *
                                     static_cast<std::size_t>(width);
  s_.tiles.grow(2 * tile * static_cast<std::size_t>(pool_.threads()));
  const NextReads next = reads(layer, Product::down);
  auto piece = [&](int index, int worker) {
    if (tiles_) {
      hidden_tiles_piece(ff, grid.piece(index), input.rounded);
    } else {
      float* gate =
          s_.tiles.data() + 2 * tile * static_cast<std::size_t>(worker);
      hidden_piece(ff, grid.piece(index), input, gate, gate + tile);
    }
    next.say(worker);
  };
  pool_.run(grid.pieces(), piece);
  lap(StepOp::gate_up, &ff.gate, &ff.up);
  const StepInput down = hidden_input(layer);
  run_linear(
      kernels_,
      ff.down,
      down,
      tokens_,
      s_.y.data(),
      model_.dim,
      pool_,
      {},
      reads(layer, Product::next_layer));
  lap(StepOp::down, &ff.down);
}

void run_step(
    const StepModel& model,
    std::span<const std::int32_t> ids,
    std::span<const StepSlice> slices,
    StepScratch& scratch,
    ThreadPool& pool,
    float* logits) {
  if (ids.empty()) {
    return;
  }
  StepRun(model, ids, slices, scratch.state(), pool).run(logits);
}

}  // namespace roofline
