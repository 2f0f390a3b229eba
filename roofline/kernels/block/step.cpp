#include "roofline/kernels/block/step.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "roofline/base/errors.h"
#include "roofline/kernels/block/linear.h"
#include "roofline/kernels/block/scratch.h"

namespace roofline {

namespace {

/// Row work (norms, rope, sums) on fewer floats than this is done by the
/// caller: it takes about as long as waking the other threads would.
constexpr std::int64_t kSerialFloats = 8192;
/// Tokens that a piece of row work takes.
constexpr int kRowTokens = 8;

/// The token's slot in a layer's cache.
int slot_of(const KvView& view, std::int64_t position) {
  for (std::size_t i = view.segments.size(); i-- > 0;) {
    const KvSegment& segment = view.segments[i];
    if (position >= segment.first_position &&
        position < segment.first_position + segment.count) {
      return segment.first_slot +
          static_cast<int>(position - segment.first_position);
    }
  }
  fail<BugError>(
      "step: a new token has no slot in the cache",
      "its position is in none of the segments",
      "Reserve the tokens before the step");
}

class Step {
 public:
  Step(
      const StepModel& model,
      std::span<const std::int32_t> ids,
      std::span<const StepSlice> slices,
      StepScratch::State& scratch,
      ThreadPool& pool)
      : model_(model),
        ids_(ids),
        slices_(slices),
        s_(scratch),
        pool_(pool),
        tokens_(static_cast<int>(ids.size())) {
    kernels_ = {
        &qmm_kernels(), &dense_kernels(), &row_kernels(), model.exact};
    s_.fit(model, tokens_);
    list_rows();
  }

  void run(float* logits) {
    start();
    for (const StepLayer& layer : model_.layers) {
      attention(layer);
      feed_forward(layer);
    }
    head(logits);
  }

 private:
  template <class F>
  void each_token(int tokens, F fn) {
    if (static_cast<std::int64_t>(tokens) * model_.dim <= kSerialFloats ||
        pool_.threads() == 1) {
      for (int t = 0; t < tokens; ++t) {
        fn(t);
      }
      return;
    }
    auto piece = [&](int index, int) {
      const int end = std::min(tokens, (index + 1) * kRowTokens);
      for (int t = index * kRowTokens; t < end; ++t) {
        fn(t);
      }
    };
    pool_.run((tokens + kRowTokens - 1) / kRowTokens, piece);
  }

  /// Calls fn(slice, token in the batch, token in the slice).
  template <class F>
  void each_slice_token(F fn) {
    each_token(tokens_, [&](int t) {
      std::size_t i = slices_.size() - 1;
      while (t < s_.slice_begin[i]) {
        --i;
      }
      fn(slices_[i], t, t - s_.slice_begin[i]);
    });
  }

  void list_rows() {
    s_.slice_begin.clear();
    s_.logit_rows.clear();
    int end = 0;
    for (const StepSlice& slice : slices_) {
      s_.slice_begin.push_back(end);
      end += slice.tokens;
      for (int t = end - slice.logit_rows; t < end; ++t) {
        s_.logit_rows.push_back(t);
      }
    }
  }

  float* row(AlignedBuffer<float>& buffer, int t, int width) {
    return buffer.data() + static_cast<std::ptrdiff_t>(t) * width;
  }

  void norm(const StepNorm& norm, const float* x, int n, float* out) const {
    const float* weight = norm.weight.empty() ? nullptr : norm.weight.data();
    if (norm.kind == NormKind::rms) {
      kernels_.rows->rms_norm(x, weight, norm.eps, n, out);
    } else {
      const float* bias = norm.bias.empty() ? nullptr : norm.bias.data();
      kernels_.rows->layer_norm(x, weight, bias, norm.eps, n, out);
    }
  }

  void quantize(int t, StepInput& input) const {
    kernels_.qmm->quantize(input.x, t, t + 1, input.quantized);
  }

  bool wants_codes(const StepLinear& linear) const {
    return !model_.exact && linear.any_quantized();
  }

  void start();
  void norm_input(int t, const std::optional<StepNorm>& norm, bool codes);
  void join(
      const StepLayer& layer,
      const std::optional<StepNorm>& post_norm,
      int t);
  void attention(const StepLayer& layer);
  void finish_qkv(const StepAttention& attention, std::size_t index);
  void store(
      const KvView& view,
      std::int64_t position,
      const float* k,
      const float* v) const;
  void attend(const StepAttention& attention, std::size_t index);
  void feed_forward(const StepLayer& layer);
  void hidden_piece(
      const StepFeedForward& ff,
      const ProductPiece& piece,
      const StepInput& input,
      float* gate,
      float* up);
  void head(float* logits);

  StepInput normed_input() {
    return {s_.normed.data(), s_.normed_codes.rows(tokens_, model_.dim)};
  }

  const StepModel& model_;
  std::span<const std::int32_t> ids_;
  std::span<const StepSlice> slices_;
  StepScratch::State& s_;
  ThreadPool& pool_;
  StepKernels kernels_;
  int tokens_ = 0;
};

/// Embeddings into x, and the cosines and sines of every position.
void Step::start() {
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

/// normed := norm(x), in codes too if asked for.
void Step::norm_input(
    int t,
    const std::optional<StepNorm>& before,
    bool codes) {
  const float* x = row(s_.x, t, model_.dim);
  float* normed = row(s_.normed, t, model_.dim);
  if (before) {
    norm(*before, x, model_.dim, normed);
  } else {
    std::memcpy(normed, x, sizeof(float) * static_cast<std::size_t>(model_.dim));
  }
  if (codes) {
    StepInput input = normed_input();
    quantize(t, input);
  }
}

/// x += residual_scale · post_norm(y)
void Step::join(
    const StepLayer& layer,
    const std::optional<StepNorm>& post_norm,
    int t) {
  float* y = row(s_.y, t, model_.dim);
  if (post_norm) {
    norm(*post_norm, y, model_.dim, y);
  }
  kernels_.rows->add(
      row(s_.x, t, model_.dim), y, layer.residual_scale, model_.dim);
}

void Step::attention(const StepLayer& layer) {
  const StepAttention& attention = layer.attention;
  const std::size_t index =
      static_cast<std::size_t>(&layer - model_.layers.data());
  const StepFeedForward& ff = layer.feed_forward;
  const bool parallel = layer.placement == NormPlacement::parallel;
  const bool codes = wants_codes(attention.qkv) ||
      (parallel && (wants_codes(ff.up) || wants_codes(ff.gate)));
  const StepLayer* before = index > 0 ? &model_.layers[index - 1] : nullptr;
  each_token(tokens_, [&](int t) {
    if (before) {
      join(*before, before->feed_forward_post_norm, t);
    }
    norm_input(t, layer.attention_norm, codes);
  });
  const int width = attention.qkv_width();
  run_linear(
      kernels_,
      attention.qkv,
      normed_input(),
      tokens_,
      s_.qkv.data(),
      width,
      pool_);
  finish_qkv(attention, index);
  attend(attention, index);
  const int q_width = attention.q_width();
  StepInput attended{
      s_.attended.data(), s_.attended_codes.rows(tokens_, q_width)};
  if (wants_codes(attention.out)) {
    each_token(tokens_, [&](int t) { quantize(t, attended); });
  }
  run_linear(
      kernels_,
      attention.out,
      attended,
      tokens_,
      s_.y.data(),
      model_.dim,
      pool_);
}

/// Norms and rotates queries and keys; writes keys and values to the cache.
void Step::finish_qkv(const StepAttention& attention, std::size_t index) {
  const int dim = attention.head_dim;
  std::ptrdiff_t table = 0;
  for (int i = 0; attention.rope && i < *attention.rope; ++i) {
    table += std::ptrdiff_t{2} * tokens_ *
        model_.ropes[static_cast<std::size_t>(i)].rotated_dims;
  }
  each_slice_token([&](const StepSlice& slice, int t, int in_slice) {
    float* q = row(s_.qkv, t, attention.qkv_width());
    float* k = q + attention.q_width();
    float* v = k + static_cast<std::ptrdiff_t>(attention.kv_heads) * dim;
    if (attention.qk_norm == QkNorm::whole) {
      norm(attention.q_norm, q, attention.q_width(), q);
      norm(attention.k_norm, k, attention.kv_heads * dim, k);
    } else if (attention.qk_norm == QkNorm::per_head) {
      for (int h = 0; h < attention.heads; ++h) {
        norm(attention.q_norm, q + h * dim, dim, q + h * dim);
      }
      for (int h = 0; h < attention.kv_heads; ++h) {
        norm(attention.k_norm, k + h * dim, dim, k + h * dim);
      }
    }
    if (attention.rope) {
      const StepRope& rope =
          model_.ropes[static_cast<std::size_t>(*attention.rope)];
      const float* cos =
          s_.rope.data() + table + std::ptrdiff_t{2} * t * rope.rotated_dims;
      kernels_.rows->rope(
          q,
          attention.heads + attention.kv_heads,
          dim,
          rope.rotated_dims,
          rope.layout,
          cos,
          cos + rope.rotated_dims);
    }
    store(slice.layers[index], slice.first_position + in_slice, k, v);
  });
}

void Step::store(
    const KvView& view,
    std::int64_t position,
    const float* k,
    const float* v) const {
  const int slot = slot_of(view, position);
  const int dim = view.head_dim;
  for (int h = 0; h < view.kv_heads; ++h) {
    const std::ptrdiff_t at =
        (static_cast<std::ptrdiff_t>(h) * view.slots + slot) * dim;
    if (view.type == KvType::f16) {
      kernels_.rows->to_half(
          k + h * dim, dim, static_cast<Half*>(view.keys) + at);
      kernels_.rows->to_half(
          v + h * dim, dim, static_cast<Half*>(view.values) + at);
    } else {
      const std::size_t bytes = sizeof(float) * static_cast<std::size_t>(dim);
      std::memcpy(static_cast<float*>(view.keys) + at, k + h * dim, bytes);
      std::memcpy(static_cast<float*>(view.values) + at, v + h * dim, bytes);
    }
  }
}

void Step::attend(const StepAttention& attention, std::size_t index) {
  s_.attention.clear();
  const int q_width = attention.q_width();
  int begin = 0;
  for (const StepSlice& slice : slices_) {
    AttentionArgs args;
    args.q = row(s_.qkv, begin, attention.qkv_width());
    args.q_stride = attention.qkv_width();
    args.out = row(s_.attended, begin, q_width);
    args.out_stride = q_width;
    args.tokens = slice.tokens;
    args.heads = attention.heads;
    args.first_position = slice.first_position;
    args.scale = attention.scale;
    args.window_tokens = attention.window_tokens;
    args.softcap = attention.softcap;
    args.kv = slice.layers[index];
    s_.attention.push_back(args);
    begin += slice.tokens;
  }
  s_.plan.prepare(s_.attention, pool_.threads());
  auto piece = [&](int i, int worker) { s_.plan.run(i, worker); };
  pool_.run(s_.plan.pieces(), piece);
}

/// One piece of act(x·gateᵀ) ∘ (x·upᵀ), left where the down product reads it.
void Step::hidden_piece(
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
    float* out = in_float ? s_.hidden.data() + token * hidden + row_begin
                          : up + at;
    kernels_.rows->activate(
        ff.activation,
        gated ? gate + at : up + at,
        gated ? up + at : nullptr,
        rows,
        out);
    if (!in_float) {
      QuantizedRows codes = s_.hidden_codes.rows(1, rows);
      codes.codes += kPlanes * (token * hidden + row_begin);
      codes.scales += token * (hidden / kGroup) + row_begin / kGroup;
      codes.sums += token * (hidden / kGroup) + row_begin / kGroup;
      kernels_.qmm->quantize(out, 0, 1, codes);
    }
  }
}

/// Ends the attention sub-layer and leaves the feed-forward's output in y.
void Step::feed_forward(const StepLayer& layer) {
  const StepFeedForward& ff = layer.feed_forward;
  const bool parallel = layer.placement == NormPlacement::parallel;
  const bool codes = wants_codes(ff.up) || wants_codes(ff.gate);
  each_token(tokens_, [&](int t) {
    join(layer, layer.attention_post_norm, t);
    if (!parallel) {
      norm_input(t, layer.feed_forward_norm, codes);
    }
  });
  const StepInput input = normed_input();
  const PackedMatrix& up = ff.up.parts[0];
  const int hidden = ff.down.cols();
  const ProductGrid grid(
      up.row_blocks(),
      up.row_blocks(),
      tokens_,
      up.cols,
      2 * packed_bytes(up.format, kRowBlock, up.cols),
      pool_.threads(),
      kGroup / kRowBlock);
  const std::size_t tile = static_cast<std::size_t>(grid.block_step()) *
      kRowBlock * static_cast<std::size_t>(grid.token_step());
  s_.tiles.grow(2 * tile * static_cast<std::size_t>(pool_.threads()));
  auto piece = [&](int index, int worker) {
    float* gate = s_.tiles.data() + 2 * tile * static_cast<std::size_t>(worker);
    hidden_piece(ff, grid.piece(index), input, gate, gate + tile);
  };
  pool_.run(grid.pieces(), piece);
  const bool in_float = hidden_in_float(model_, ff);
  const StepInput down{
      in_float ? s_.hidden.data() : nullptr, s_.hidden_codes.rows(tokens_, hidden)};
  run_linear(
      kernels_, ff.down, down, tokens_, s_.y.data(), model_.dim, pool_);
}

/// The last rows of each slice, normed, times the head.
void Step::head(float* logits) {
  const int count = static_cast<int>(s_.logit_rows.size());
  const StepLayer* last = model_.layers.empty() ? nullptr
                                                : &model_.layers.back();
  StepInput input = normed_input();
  each_token(count, [&](int i) {
    const int t = s_.logit_rows[static_cast<std::size_t>(i)];
    if (last) {
      join(*last, last->feed_forward_post_norm, t);
    }
    norm(
        model_.final_norm,
        row(s_.x, t, model_.dim),
        model_.dim,
        row(s_.normed, i, model_.dim));
    if (wants_codes(model_.head)) {
      quantize(i, input);
    }
  });
  const float cap = model_.logit_softcap.value_or(0.0f);
  AfterPiece after;
  if (model_.logit_scale != 1.0f || cap != 0.0f) {
    after = [&](int first, int n, int token_begin, int token_end) {
      for (int t = token_begin; t < token_end; ++t) {
        kernels_.rows->scale_and_cap(
            logits + static_cast<std::ptrdiff_t>(t) * model_.vocab + first,
            model_.logit_scale,
            cap,
            n);
      }
    };
  }
  run_linear(
      kernels_, model_.head, input, count, logits, model_.vocab, pool_, after);
}

} // namespace

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
  Step(model, ids, slices, scratch.state(), pool).run(logits);
}

} // namespace roofline
