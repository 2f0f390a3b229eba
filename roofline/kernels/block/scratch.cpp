#include "roofline/kernels/block/scratch.h"

#include <algorithm>

namespace roofline {

void QuantizedBuffer::grow(std::size_t tokens, std::size_t cols) {
  const std::size_t groups = (cols + kGroup - 1) / kGroup;
  codes.grow(tokens * cols * kPlanes);
  scales.grow(tokens * groups);
  sums.grow(tokens * groups);
  half_sums.grow(2 * tokens * groups);
  code_sums.grow(tokens * groups);
  high.grow(tokens * groups);
}

QuantizedRows QuantizedBuffer::rows(int tokens, int cols, bool trimmed) {
  return {
      tokens,
      cols,
      codes.data(),
      scales.data(),
      sums.data(),
      half_sums.data(),
      code_sums.data(),
      trimmed ? high.data() : nullptr};
}

void ScreenedLogits::fit(int tokens, int blocks) {
  const auto rows = static_cast<std::size_t>(tokens);
  spread.grow(rows);
  reach.grow(rows * static_cast<std::size_t>(blocks));
  of_tokens.resize(std::max(of_tokens.size(), rows));
}

void ScreenedLogits::note(double read) {
  // Half of the head is what its coarse copy leaves to be saved; scattered
  // blocks are read more slowly.
  constexpr double kMostShare = 0.3;
  constexpr double kNewest = 0.25;
  constexpr int kPause = 32;
  share += kNewest * (read - share);
  if (share > kMostShare) {
    pause = kPause;
    share = kMostShare / 2;  // the next try counts for half
  }
}

bool hidden_in_float(const StepModel& model, const StepFeedForward& ff) {
  return model.exact || !ff.down.any_quantized();
}

void StepScratch::State::fit(const StepModel& model, int tokens, bool tiles) {
  int qkv_width = 0;
  int q_width = 0;
  int code_width = 0;
  int float_width = 0;
  int hidden_width = 0;
  for (const StepLayer& layer : model.layers) {
    qkv_width = std::max(qkv_width, layer.attention.qkv_width());
    q_width = std::max(q_width, layer.attention.q_width());
    const StepFeedForward& ff = layer.feed_forward;
    const int hidden = ff.down.cols();
    hidden_width = std::max(hidden_width, hidden);
    if (hidden_in_float(model, ff)) {
      float_width = std::max(float_width, hidden);
    } else {
      code_width = std::max(code_width, hidden);
    }
  }
  std::size_t rope_width = 0;
  for (const StepRope& each : model.ropes) {
    rope_width += 2 * static_cast<std::size_t>(each.rotated_dims);
  }
  const auto rows = static_cast<std::size_t>(tokens);
  const auto of = [&](int width) {
    return rows * static_cast<std::size_t>(width);
  };
  x.grow(of(model.dim));
  normed.grow(of(model.dim));
  qkv.grow(of(qkv_width));
  attended.grow(of(q_width));
  y.grow(of(model.dim));
  if (tiles) {
    normed_tiles.grow(RoundedRows::size(tokens, model.dim));
    attended_tiles.grow(RoundedRows::size(tokens, q_width));
    hidden_tiles.grow(RoundedRows::size(tokens, hidden_width));
    // Only the head's rows are in codes.
    normed_codes.grow(rows, static_cast<std::size_t>(model.dim));
    rope.grow(rows * rope_width);
    return;
  }
  hidden.grow(of(float_width));
  if (!model.exact) {
    normed_codes.grow(rows, static_cast<std::size_t>(model.dim));
    attended_codes.grow(rows, static_cast<std::size_t>(q_width));
    hidden_codes.grow(rows, static_cast<std::size_t>(code_width));
  }
  rope.grow(rows * rope_width);
}

double coded_bytes(double cols) {
  return cols / kGroup * QuantizedBuffer::kGroupBytes;
}

std::size_t tile_bytes_of_thread(int head_dim, std::int64_t tokens) {
  if (bf16_product_kernels() == nullptr || tokens < kLeastTileTokens) {
    return 0;
  }
  KvView kv;
  kv.head_dim = head_dim;
  return kTiledProductBytes +
         sizeof(float) * tiled_scratch_floats(kMostTiledRows, kv);
}

StepScratch::StepScratch() : state_(std::make_unique<State>()) {}
StepScratch::~StepScratch() = default;

double StepScratch::screened_share() const {
  return state_->screened.pause > 0 ? 1 : state_->screened.share;
}

}  // namespace roofline
