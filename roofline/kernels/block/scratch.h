// The buffers of a step. Internal to kernels/block.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <vector>

#include "roofline/kernels/attention/plan.h"
#include "roofline/kernels/block/linear.h"
#include "roofline/kernels/block/step.h"

namespace roofline {

/// Memory that begins on a cache line; grows, never shrinks, isn't cleared.
template <class T>
class AlignedBuffer {
 public:
  void grow(std::size_t count) {
    if (count <= count_) {
      return;
    }
    constexpr std::size_t kLine = 64;
    data_.reset(static_cast<T*>(
        ::operator new(count * sizeof(T), std::align_val_t(kLine))));
    count_ = count;
  }
  T* data() { return data_.get(); }

 private:
  struct Free {
    void operator()(T* data) const {
      ::operator delete(data, std::align_val_t(64));
    }
  };
  std::unique_ptr<T, Free> data_;
  std::size_t count_ = 0;
};

/// Activations in codes, at most so many columns wide.
struct QuantizedBuffer {
  AlignedBuffer<std::int8_t> codes;
  AlignedBuffer<float> scales;
  AlignedBuffer<float> sums;
  AlignedBuffer<float> half_sums;
  AlignedBuffer<std::uint8_t> low;

  void grow(std::size_t tokens, std::size_t cols);
  /// trimmed: with room for what trim_low() leaves.
  QuantizedRows rows(int tokens, int cols, bool trimmed = false);
};

struct StepScratch::State {
  AlignedBuffer<float> x;         ///< residual stream [tokens, dim]
  AlignedBuffer<float> normed;    ///< [tokens, dim]
  AlignedBuffer<float> qkv;       ///< [tokens, qkv width]
  AlignedBuffer<float> attended;  ///< [tokens, q width]
  AlignedBuffer<float> y;         ///< a sub-layer's output [tokens, dim]
  AlignedBuffer<float> hidden;    ///< [tokens, hidden], if needed in float32
  QuantizedBuffer normed_codes;
  QuantizedBuffer attended_codes;
  QuantizedBuffer hidden_codes;
  AlignedBuffer<float> tiles;  ///< a worker's gate and up
  AlignedBuffer<float> rope;   ///< cosines and sines, rope after rope
  std::vector<AttentionArgs> attention;
  AttentionPlan plan;
  std::vector<int> slice_begin;  ///< each slice's first token in the batch
  std::vector<int> logit_rows;   ///< tokens whose logits are asked for

  /// Makes room for a step of so many tokens.
  void fit(const StepModel& model, int tokens);
};

/// Whether the down product reads its activations in float32, not in codes.
bool hidden_in_float(const StepModel& model, const StepFeedForward& ff);

}  // namespace roofline
