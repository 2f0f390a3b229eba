// The fused CPU step: a whole decoder for a batch of slices, as data and one
// function. In: token ids, the caches' raw views. Out: float32 logits of the
// rows asked for. It knows mechanisms (norm placements, rope, windows, caps),
// no family. Tokens of all slices form one [tokens, dim] batch, so that the
// weights are read once; only attention looks at one slice at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "roofline/base/thread_pool.h"
#include "roofline/kernels/attention/attention.h"
#include "roofline/kernels/block/deciding_logits.h"
#include "roofline/kernels/packed_matrix.h"
#include "roofline/spec/model_spec.h"

namespace roofline {

struct StepNorm {
  NormKind kind = NormKind::rms;
  float eps = 1e-6f;
  std::vector<float> weight;  ///< plus-one folded in; empty: all ones
  std::vector<float> bias;    ///< empty: none
};

/// y = x · wᵀ + bias. Matrices stacked by rows, each in a format of its own.
struct StepLinear {
  std::vector<PackedMatrix> parts;
  std::vector<float> bias;  ///< [rows]; empty: none

  int rows() const;
  int cols() const { return parts.empty() ? 0 : parts.front().cols; }
  bool any_quantized() const;
};

struct StepAttention {
  int heads = 0;
  int kv_heads = 0;
  int head_dim = 0;
  float scale = 1.0f;
  std::optional<int> window_tokens;
  std::optional<float> softcap;
  QkNorm qk_norm = QkNorm::none;
  StepNorm q_norm;
  StepNorm k_norm;
  std::optional<int> rope;  ///< index into StepModel::ropes
  StepLinear qkv;
  StepLinear out;

  int q_width() const { return heads * head_dim; }
  int qkv_width() const { return (heads + 2 * kv_heads) * head_dim; }
};

struct StepFeedForward {
  Activation activation = Activation::silu;
  StepLinear gate;  ///< no parts: not gated
  StepLinear up;
  StepLinear down;
};

struct StepLayer {
  NormPlacement placement = NormPlacement::pre;
  float residual_scale = 1.0f;
  std::optional<StepNorm> attention_norm;
  std::optional<StepNorm> attention_post_norm;
  std::optional<StepNorm> feed_forward_norm;
  std::optional<StepNorm> feed_forward_post_norm;
  StepAttention attention;
  StepFeedForward feed_forward;
};

/// A coarse copy of the head in 4 bits. Where few logits decide, it is read
/// whole instead of the head, and of the head the rows alone that can be among
/// them.
struct StepScreen {
  StepLinear coarse;  ///< no parts: there is none
  /// Of each row of the head how far the coarse one is from it, as the length
  /// of their difference; zeros up to a whole row block.
  std::span<const float> errors;
};

struct StepRope {
  RopeLayout layout = RopeLayout::half_split;
  int rotated_dims = 0;
};

struct StepModel {
  int dim = 0;
  int vocab = 0;
  /// float32 activations; otherwise they are quantized where they meet
  /// quantized weights.
  bool exact = false;
  PackedMatrix embed;
  float embedding_scale = 1.0f;
  std::vector<StepRope> ropes;
  std::vector<StepLayer> layers;
  StepNorm final_norm;
  StepLinear head;
  StepScreen screen;
  float logit_scale = 1.0f;
  std::optional<float> logit_softcap;
};

/// One sequence's part of a step.
struct StepSlice {
  int tokens = 0;
  /// The last so many tokens have their logits computed.
  int logit_rows = 1;
  /// Of each row; noise is of one.
  DecidingLogits deciding;
  std::int64_t first_position = 0;
  /// One view a layer; slots for the new tokens are among the segments.
  std::vector<KvView> layers;
  /// One a rope of the model.
  std::shared_ptr<const std::vector<RopeRegime>> regimes;
};

/// Working memory, kept from step to step: it grows with the largest batch of
/// tokens seen and is never given back. One step at a time.
class StepScratch {
 public:
  StepScratch();
  ~StepScratch();
  StepScratch(const StepScratch&) = delete;
  StepScratch& operator=(const StepScratch&) = delete;

  /// Of the head where it is screened: the share that is read after all,
  /// lately.
  double screened_share() const;

  struct State;
  State& state() { return *state_; }

 private:
  std::unique_ptr<State> state_;
};

/// What a thread keeps for steps of so many tokens on matrix tiles, in bytes:
/// sums of products, a piece of gate and up, a task of attention. 0 where there
/// are no tiles, or too few tokens for them.
std::size_t tile_bytes_of_thread(int head_dim, std::int64_t tokens);

/// What StepScratch keeps of a token's activations in codes, in bytes: cols is
/// a multiple of 32.
double coded_bytes(double cols);

/// Runs the decoder. ids: all slices' tokens, each in [0, vocab), in order.
/// logits: [sum of logit_rows, vocab]. Writes the new keys and values into the
/// views. Reads the weights once for each call.
void run_step(
    const StepModel& model,
    std::span<const std::int32_t> ids,
    std::span<const StepSlice> slices,
    StepScratch& scratch,
    ThreadPool& pool,
    float* logits);

}  // namespace roofline
