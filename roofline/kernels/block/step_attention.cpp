#include <algorithm>
#include <cstddef>
#include <cstring>
#include <utility>

#include "roofline/base/errors.h"
#include "roofline/kernels/block/step_run.h"

namespace roofline {

namespace {

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

/// Asks for the lines that a token's keys and values will be written to: with
/// many sequences they come from memory, one after the other.
void ask_for_slot(const KvView& view, std::int64_t position) {
  if (view.key_codes.bits > 0 || view.value_codes.bits > 0) {
    return;
  }
  const std::ptrdiff_t slot = slot_of(view, position);
  const std::ptrdiff_t row =
      view.head_dim *
      static_cast<std::ptrdiff_t>(
          view.type == KvType::f16 ? sizeof(Half) : sizeof(float));
  constexpr std::ptrdiff_t kLine = 64;
  for (const void* floats : {view.keys, view.values}) {
    for (int h = 0; h < view.kv_heads; ++h) {
      const char* at =
          static_cast<const char*>(floats) + (h * view.slots + slot) * row;
      for (std::ptrdiff_t i = 0; i < row; i += kLine) {
        __builtin_prefetch(at + i, 1);
      }
    }
  }
}

}  // namespace

void StepRun::attention(const StepLayer& layer) {
  const StepAttention& attention = layer.attention;
  const std::size_t index =
      static_cast<std::size_t>(&layer - model_.layers.data());
  const StepFeedForward& ff = layer.feed_forward;
  const bool parallel = layer.placement == NormPlacement::parallel;
  const bool codes = wants_codes(attention.qkv) ||
                     (parallel && (wants_codes(ff.up) || wants_codes(ff.gate)));
  const StepLayer* before = index > 0 ? &model_.layers[index - 1] : nullptr;
  each_slice_token([&](const StepSlice& slice, int t, int) {
    if (slices_.size() > 1 && slice.tokens == 1) {
      ask_for_slot(slice.layers[index], slice.first_position);
    }
    if (before) {
      join(*before, before->feed_forward_post_norm, t);
    }
    norm_input(t, layer, layer.attention_norm, codes);
  });
  lap(StepOp::norm);
  const int width = attention.qkv_width();
  run_linear(
      kernels_,
      attention.qkv,
      normed_input(trims()),
      tokens_,
      s_.qkv.data(),
      width,
      pool_,
      {},
      reads(layer, Product::out));
  lap(StepOp::qkv, &attention.qkv);
  finish_qkv(attention, index);
  lap(StepOp::rope);
  const bool coded = attend(layer, index);
  lap(StepOp::attention);
  if (index + 1 == model_.layers.size()) {
    keep_logit_rows(layer);
  }
  const int q_width = attention.q_width();
  StepInput attended{
      s_.attended.data(),
      s_.attended_codes.rows(tokens_, q_width, trims()),
      rounded(s_.attended_tiles, q_width)};
  if (wants_codes(attention.out) && !coded) {
    const float own = octaves(layer, kInnerOctaves);
    each_token(tokens_, [&](int t) { quantize(t, attended, own); });
  }
  run_linear(
      kernels_,
      attention.out,
      attended,
      tokens_,
      s_.y.data(),
      model_.dim,
      pool_,
      {},
      reads(layer, Product::gate_up));
  lap(StepOp::out, &attention.out);
}

/// Leaves out the tokens whose last layer nobody reads any further: those of a
/// prompt but for its last one. Tiles multiply a few rows no faster than many.
void StepRun::keep_logit_rows(const StepLayer& layer) {
  const int count = static_cast<int>(s_.logit_rows.size());
  if (count == 0 || layer.placement == NormPlacement::parallel ||
      (tiles_ && count < kLeastTileTokens)) {
    return;
  }
  const int q_width = layer.attention.q_width();
  for (int i = 0; i < count; ++i) {
    const int t = std::exchange(s_.logit_rows[static_cast<std::size_t>(i)], i);
    if (t != i) {
      std::copy_n(
          row(s_.x, t, model_.dim),
          model_.dim,
          row(s_.x, i, model_.dim));
      std::copy_n(
          row(s_.attended, t, q_width),
          q_width,
          row(s_.attended, i, q_width));
    }
  }
  tokens_ = count;
}

/// Norms and rotates queries and keys; writes keys and values to the cache.
void StepRun::finish_qkv(const StepAttention& attention, std::size_t index) {
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

void StepRun::store(
    const KvView& view,
    std::int64_t position,
    const float* k,
    const float* v) const {
  const int slot = slot_of(view, position);
  for (int h = 0; h < view.kv_heads; ++h) {
    const int at = h * view.head_dim;
    store_row(view, view.keys, view.key_codes, h, slot, k + at);
    store_row(view, view.values, view.value_codes, h, slot, v + at);
  }
}

/// x [head_dim] becomes the key or the value of a head in a slot.
void StepRun::store_row(
    const KvView& view,
    void* floats,
    const KvCodes& codes,
    int head,
    int slot,
    const float* x) const {
  const int dim = view.head_dim;
  int slots = view.slots;
  if (codes.bits > 0) {
    if (slot >= view.full_slots) {
      kv_code_kernels().encode(x, codes, head, slot - view.full_slots);
      return;
    }
    slots = view.full_slots;
  }
  const std::ptrdiff_t at =
      (static_cast<std::ptrdiff_t>(head) * slots + slot) * dim;
  if (view.type == KvType::f16) {
    kernels_.rows->to_half(x, dim, static_cast<Half*>(floats) + at);
  } else {
    const std::size_t bytes = sizeof(float) * static_cast<std::size_t>(dim);
    std::memcpy(static_cast<float*>(floats) + at, x, bytes);
  }
}

/// Returns whether the pieces left their outputs in codes, too.
bool StepRun::attend(const StepLayer& layer, std::size_t index) {
  const StepAttention& attention = layer.attention;
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
  s_.plan.prepare(
      s_.attention,
      pool_.threads(),
      checks()        ? AttentionProducts::row_by_row
      : rounds_more() ? AttentionProducts::bfloat16
                      : AttentionProducts::float32);
  const int columns = attention.heads / attention.kv_heads * attention.head_dim;
  const bool coded =
      tokens_ == 1 && wants_codes(attention.out) && columns % kGroup == 0;
  const QuantizedRows codes = s_.attended_codes.rows(1, q_width);
  const NextReads next = reads(layer, Product::out);
  auto piece = [&](int i, int worker) {
    const int head = s_.plan.run(i, worker);
    if (coded && head >= 0) {
      const int first = head * columns;
      kernels_.qmm->quantize(
          s_.attended.data() + first,
          0,
          1,
          token_columns(codes, 0, first, columns));
    }
    next.say(worker);
  };
  pool_.run(s_.plan.pieces(), piece);
  return coded;
}

}  // namespace roofline
