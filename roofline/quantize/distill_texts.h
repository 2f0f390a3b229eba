// The texts that distillation follows: windows with what the float model makes
// of them, some of which are held out; and a model's divergence from that.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "roofline/kernels/token_loss/token_loss.h"
#include "roofline/model/trainable_decoder.h"
#include "roofline/quantize/codes.h"
#include "roofline/weights/checkpoint.h"

namespace roofline {

struct DistillText {
  std::vector<std::int32_t> ids;
  std::vector<float> teacher;  ///< [tokens, dim]
};

class DistillTexts {
 public:
  /// Runs the source over the windows, layer by layer. False: stopped.
  bool read(
      const Checkpoint& source,
      const std::vector<std::vector<std::int32_t>>& windows,
      const std::function<void(double share, const std::string& what)>&
          progress,
      const std::function<bool()>& stop);

  std::span<const DistillText> held_out() const { return held_out_; }
  /// Texts to learn from of up to so many tokens, or one; all of them before
  /// one comes again.
  std::vector<const DistillText*> next(int step_tokens);

  /// Mean divergence of the texts' tokens.
  mx::array divergence(
      TrainableDecoder& decoder,
      const std::vector<const DistillText*>& texts,
      LossGradient gradient,
      KeepLayers keep) const;

 private:
  std::vector<DistillText> texts_, held_out_;
  std::shared_ptr<FloatMatrix> head_;
  std::vector<std::size_t> order_;  ///< of those that are still to come
  std::uint64_t random_ = 7;
};

}  // namespace roofline
