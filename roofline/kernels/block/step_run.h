// One run of the fused step: the stages of a layer in order. Internal to
// kernels/block; step.h is the interface. step.cpp has the beginning and the
// feed-forward, step_attention.cpp the attention sub-layer, step_head.cpp the
// logits.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "roofline/base/op_times.h"
#include "roofline/base/thread_pool.h"
#include "roofline/kernels/block/linear.h"
#include "roofline/kernels/block/scratch.h"
#include "roofline/kernels/block/step.h"

namespace roofline {

/// Row work (norms, rope, sums) on fewer floats than this is done by the
/// caller: it takes about as long as handing it to the others, who spin.
constexpr std::int64_t kSerialFloats = 2048;
/// Most tokens that a piece of row work takes.
constexpr int kRowTokens = 8;

/// Up to so many tokens a product is bound by reading its weights: both planes
/// of the activations cost nothing then.
constexpr int kUntrimmedTokens = 8;
/// QmmKernels::trim's octaves for what a norm leaves, for what attention and
/// the activation leave, whose errors weigh less, and for the last layer and
/// the head, whose errors weigh most: docs/accuracy.md.
constexpr float kNormedOctaves = 0.0f;
constexpr float kInnerOctaves = 0.75f;
constexpr float kLastOctaves = -1.0f;
constexpr float kHeadOctaves = -1.0f;
/// For a coarse head, whose errors are far larger: next to no outliers.
constexpr float kCoarseOctaves = 1.0f;

/// One call of run_step.
class StepRun {
 public:
  StepRun(
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
        &qmm_kernels(),
        &dense_kernels(),
        &row_kernels(),
        bf16_product_kernels(),
        model.exact,
        checks() ? DenseOrder::alike : DenseOrder::quick};
    tiles_ = kernels_.bf16 != nullptr && tokens_ >= kLeastTileTokens &&
             rounds_more();
    trims_ = kernels_.qmm->skips_high && rounds_more();
    s_.fit(model, tokens_, tiles_);
    list_rows();
    screens_ = begin_screening();
    asks_ahead_ = tokens_ == 1 && pool_.threads() > 1 && !model_.layers.empty();
    if (asks_ahead_) {
      s_.reads.prepare(
          model,
          screens() ? model.screen.coarse : model.head,
          pool.threads());
    }
  }

  void run(float* logits) {
    if (times_) {
      times_->begin();
    }
    start();
    lap(StepOp::embed);
    for (const StepLayer& layer : model_.layers) {
      attention(layer);
      feed_forward(layer);
    }
    head(logits);
  }

 private:
  /// Books the time since the last lap, and the weights that were read.
  void lap(
      StepOp op,
      const StepLinear* first = nullptr,
      const StepLinear* second = nullptr) const {
    if (!times_) {
      return;
    }
    std::uint64_t bytes = 0;
    for (const StepLinear* linear : {first, second}) {
      for (std::size_t i = 0; linear && i < linear->parts.size(); ++i) {
        const PackedMatrix& part = linear->parts[i];
        bytes += packed_bytes(part, part.rows, part.cols);
      }
    }
    times_->lap(op, bytes);
  }

  template <class F>
  void each_token(int tokens, F fn) {
    if (static_cast<std::int64_t>(tokens) * model_.dim <= kSerialFloats ||
        pool_.threads() == 1) {
      for (int t = 0; t < tokens; ++t) {
        fn(t);
      }
      return;
    }
    const int even = (tokens + pool_.threads() - 1) / pool_.threads();
    const int each = std::min(even, kRowTokens);
    auto piece = [&](int index, int) {
      const int end = std::min(tokens, (index + 1) * each);
      for (int t = index * each; t < end; ++t) {
        fn(t);
      }
    };
    pool_.run((tokens + each - 1) / each, piece);
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

  /// Whether the coarse head is read instead of the head in this step, which
  /// counts as one of a pause: where few logits decide, and where that pays.
  /// One row waits for memory, of which a coarse head takes half, and so do
  /// tiles, for which it is decoded more quickly. Products of several rows take
  /// the same time in 4 bits and 8, but for those of trims_coarse().
  bool begin_screening() {
    const auto rows = static_cast<int>(s_.logit_rows.size());
    if (model_.screen.coarse.parts.empty() ||
        (rows > 1 && !head_on_tiles(rows) && !trims_coarse(rows))) {
      return false;
    }
    for (const StepSlice& slice : slices_) {
      if (slice.deciding.all()) {
        return false;
      }
    }
    if (s_.screened.pause > 0) {
      --s_.screened.pause;
      return false;
    }
    return true;
  }

  /// Whether a coarse head's product with so many rows is on tiles.
  bool head_on_tiles(int rows) const {
    return tiles_ && rows >= kLeastTileTokens;
  }

  /// Whether a coarse head is met by rows whose high codes are left out but for
  /// outliers': of many rows arithmetic decides.
  bool trims_coarse(int rows) const {
    const int least = kernels_.qmm->least_coarse_rows;
    return least > 0 && rows >= least && !head_on_tiles(rows);
  }

  void list_rows() {
    s_.slice_begin.clear();
    s_.logit_rows.clear();
    s_.deciding.clear();
    int end = 0;
    for (const StepSlice& slice : slices_) {
      s_.slice_begin.push_back(end);
      end += slice.tokens;
      for (int t = end - slice.logit_rows; t < end; ++t) {
        s_.logit_rows.push_back(t);
        s_.deciding.push_back(&slice.deciding);
      }
    }
  }

  static float* row(float* rows, int t, int width) {
    return rows + static_cast<std::ptrdiff_t>(t) * width;
  }
  static float* row(AlignedBuffer<float>& rows, int t, int width) {
    return row(rows.data(), t, width);
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

  /// Products in the order in which a step reads them.
  enum class Product { qkv, out, gate_up, down, next_layer };

  /// What threads read first in a product of a layer, or after it.
  NextReads reads(const StepLayer& layer, Product product) const {
    if (!asks_ahead_) {
      return {};
    }
    const auto index = static_cast<std::size_t>(&layer - model_.layers.data());
    return {s_.reads.product(
        index * ReadOrder::kLayerProducts + static_cast<std::size_t>(product))};
  }

  /// What they read first in the next step.
  NextReads reads_of_next_step() const {
    return model_.layers.empty() ? NextReads{}
                                 : reads(model_.layers.front(), Product::qkv);
  }

  /// A token of x in the form that the products of this step take.
  void quantize(int t, StepInput& input, float octaves) const {
    if (input.rounded.tiles != nullptr) {
      const int cols = input.rounded.cols;
      const float* x = input.x + static_cast<std::ptrdiff_t>(t) * cols;
      kernels_.bf16->round(x, cols, t, 0, input.rounded);
      return;
    }
    kernels_.qmm->quantize(input.x, t, t + 1, input.quantized);
    trim(t, input.quantized, octaves);
  }

  void trim(int t, const QuantizedRows& rows, float octaves) const {
    if (rows.high != nullptr) {
      kernels_.qmm->trim(rows, t, t + 1, octaves);
    }
  }

  /// Whether guesses are checked in this step: in a slice of up to
  /// kMostCheckedTokens whose logits are asked for. All of the step then gives
  /// what one token a step gives.
  bool checks() const {
    return std::any_of(
        slices_.begin(),
        slices_.end(),
        [](const StepSlice& slice) {
          return slice.logit_rows > 1 && slice.tokens <= kMostCheckedTokens;
        });
  }

  /// Whether this step rounds more than one of a single token does.
  bool rounds_more() const {
    return !model_.exact && tokens_ > kUntrimmedTokens && !checks();
  }

  /// Whether products leave high codes out.
  bool trims() const { return trims_; }

  /// Whether the coarse head is read instead of the head.
  bool screens() const { return screens_; }

  /// QmmKernels::trim's octaves in a layer, where they are usual_octaves in
  /// most.
  float octaves(const StepLayer& layer, float usual_octaves) const {
    return &layer == &model_.layers.back() ? kLastOctaves : usual_octaves;
  }

  /// Whether a product of this step takes x in another form than float32.
  bool wants_codes(const StepLinear& linear) const {
    return !model_.exact && (tiles_ || linear.any_quantized());
  }

  void start();
  void norm_input(
      int t,
      const StepLayer& layer,
      const std::optional<StepNorm>& norm,
      bool codes);
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
  void store_row(
      const KvView& view,
      void* floats,
      const KvCodes& codes,
      int head,
      int slot,
      const float* x) const;
  bool attend(const StepLayer& layer, std::size_t index);
  void keep_logit_rows(const StepLayer& layer);
  void feed_forward(const StepLayer& layer);
  void hidden_tiles_piece(
      const StepFeedForward& ff,
      const ProductPiece& piece,
      const RoundedRows& input);
  void hidden_piece(
      const StepFeedForward& ff,
      const ProductPiece& piece,
      const StepInput& input,
      float* gate,
      float* up);
  StepInput hidden_input(const StepLayer& layer);
  StepInput head_input(int count);
  void scale_logits(float* logits, int n) const;
  double trim_coarse(int i, StepInput& coarse) const;
  void coarse_logits(const StepInput& input, int count, float* logits);
  std::span<float> head_block(
      const StepInput& input,
      int t,
      int block,
      float* logits) const;
  bool reaches(
      const DecidingLogits& deciding,
      int t,
      int block,
      const float* logits,
      float bound) const;
  void list_blocks(
      const StepInput& input,
      int t,
      float* logits,
      std::vector<HeadBlock>& out);
  void deciding_logits(const StepInput& input, int count, float* logits);
  void head(float* logits);

  /// What norm_input() leaves.
  StepInput normed_input(bool trimmed) {
    return {
        s_.normed.data(),
        s_.normed_codes.rows(tokens_, model_.dim, trimmed),
        rounded(s_.normed_tiles, model_.dim)};
  }

  RoundedRows rounded(AlignedBuffer<std::uint16_t>& tiles, int cols) const {
    return tiles_ ? RoundedRows::over(tokens_, cols, tiles.data())
                  : RoundedRows{};
  }

  const StepModel& model_;
  std::span<const std::int32_t> ids_;
  std::span<const StepSlice> slices_;
  StepScratch::State& s_;
  ThreadPool& pool_;
  StepKernels kernels_;
  int tokens_ = 0;      ///< past the last layer's attention: keep_logit_rows()
  bool tiles_ = false;  ///< products of the layers are on tiles of bfloat16
  bool trims_ = false;
  bool screens_ = false;
  /// One token is bound by memory, which idles while threads wait.
  bool asks_ahead_ = false;
#ifdef ROOFLINE_NO_OP_TIMES
  // As if there were no such thing: bench/trace_cost.py measures the
  // difference.
  static constexpr OpTimes* times_ = nullptr;
#else
  OpTimes* times_ = OpTimes::active();
#endif
};

}  // namespace roofline
