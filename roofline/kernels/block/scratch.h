// The buffers of a step. Internal to kernels/block.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "roofline/kernels/aligned_buffer.h"
#include "roofline/kernels/attention/plan.h"
#include "roofline/kernels/block/linear.h"
#include "roofline/kernels/block/logit_memory.h"
#include "roofline/kernels/block/read_order.h"
#include "roofline/kernels/block/step.h"

namespace roofline {

/// Fewer tokens leave tiles half empty and don't pay for decoding.
constexpr int kLeastTileTokens = 16;

/// Activations in codes, at most so many columns wide.
struct QuantizedBuffer {
  /// What a group takes of all of them together.
  static constexpr std::size_t kGroupBytes =
      kPlanes * kGroup + (1 + 1 + 2) * sizeof(float) + sizeof(std::int32_t) +
      sizeof(std::uint8_t);

  AlignedBuffer<std::int8_t> codes;
  AlignedBuffer<float> scales;
  AlignedBuffer<float> sums;
  AlignedBuffer<float> half_sums;
  AlignedBuffer<std::int32_t> code_sums;
  AlignedBuffer<std::uint8_t> high;

  void grow(std::size_t tokens, std::size_t cols);
  /// trimmed: with room for what trim() leaves.
  QuantizedRows rows(int tokens, int cols, bool trimmed = false);
};

/// A block of the head's rows that is read for a token.
struct HeadBlock {
  int token = 0;
  int block = 0;
};

/// What the coarse head says of the logits.
struct ScreenedLogits {
  AlignedBuffer<float> spread;  ///< [tokens], of an error of 1
  /// [tokens, row blocks], the most that the largest logit can be; later with
  /// its noise.
  AlignedBuffer<float> reach;
  std::vector<std::vector<HeadBlock>> of_tokens;
  double share = 0;  ///< of the head that is read after all, lately
  int pause = 0;     ///< so many steps read the whole head

  void fit(int tokens, int blocks);
  /// Notes a step that read so much of the head.
  void note(double read);
};

struct StepScratch::State {
  std::mutex running;  ///< held by decoder_step
  std::shared_ptr<LogitMemory> logits = std::make_shared<LogitMemory>();
  AlignedBuffer<float> x;         ///< residual stream [tokens, dim]
  AlignedBuffer<float> normed;    ///< [tokens, dim]
  AlignedBuffer<float> qkv;       ///< [tokens, qkv width]
  AlignedBuffer<float> attended;  ///< [tokens, q width]
  AlignedBuffer<float> y;         ///< a sub-layer's output [tokens, dim]
  AlignedBuffer<float> hidden;    ///< [tokens, hidden], if needed in float32
  QuantizedBuffer normed_codes;
  QuantizedBuffer coarse_codes;  ///< of rows that a coarse head meets
  QuantizedBuffer attended_codes;
  QuantizedBuffer hidden_codes;
  AlignedBuffer<std::uint16_t> normed_tiles;
  AlignedBuffer<std::uint16_t> attended_tiles;
  AlignedBuffer<std::uint16_t> hidden_tiles;
  AlignedBuffer<float> tiles;  ///< a worker's gate and up
  AlignedBuffer<float> rope;   ///< cosines and sines, rope after rope
  std::vector<AttentionArgs> attention;
  AttentionPlan plan;
  ReadOrder reads;
  ScreenedLogits screened;
  std::vector<int> slice_begin;  ///< each slice's first token in the batch
  std::vector<int> logit_rows;   ///< tokens whose logits are asked for
  std::vector<const DecidingLogits*> deciding;  ///< of these

  /// Makes room for a step of so many tokens; tiles: on tiles of bfloat16.
  void fit(const StepModel& model, int tokens, bool tiles);
};

/// Whether the down product reads its activations in float32, not in codes.
bool hidden_in_float(const StepModel& model, const StepFeedForward& ff);

}  // namespace roofline
