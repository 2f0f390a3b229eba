// In which order samples are seen, which of them make a batch, and a batch's
// samples laid one after the other.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "roofline/kernels/token_loss/token_loss.h"
#include "roofline/train/dataset.h"

namespace roofline {

struct BatchOptions {
  int batch = 4;  ///< examples
  /// Fill a batch up to batch · max_tokens tokens instead.
  bool pack = false;
  int max_tokens = 512;
  bool shuffle = true;
  std::uint64_t seed = 0;
};

/// The batches of one epoch, as indices of examples, of which inputs has the
/// tokens: a function of the seed and
/// the epoch alone, so that a resumed run sees what it would have seen.
std::vector<std::vector<int>> plan_epoch(
    std::span<const int> inputs,
    const BatchOptions& options,
    int epoch);

/// The batches of all epochs, one after the other.
class BatchStream {
 public:
  /// inputs: tokens of each example.
  BatchStream(std::vector<int> inputs, const BatchOptions& options);

  std::size_t per_epoch() const { return plan_.size(); }
  int inputs(int example) const {
    return inputs_[static_cast<std::size_t>(example)];
  }
  /// Of the batch with this number, from 0 on; going back begins anew.
  const std::vector<int>& at(std::int64_t index);

 private:
  void open(int epoch, std::int64_t first);

  std::vector<int> inputs_;
  BatchOptions options_;
  int epoch_ = 0;
  std::int64_t first_ = 0;
  std::vector<std::vector<int>> plan_;
};

/// The most tokens that one batch can have.
std::int64_t largest_batch(
    std::span<const int> inputs,
    const BatchOptions& options);

/// Samples one after the other, without padding.
struct PackedBatch {
  std::vector<std::int32_t> ids;  ///< inputs
  std::vector<int> first;         ///< each sample's first row, then the end
  std::shared_ptr<TokenTargets> targets;
  std::int64_t learned = 0;  ///< targets of weight 1
};

/// All weights are 1 or 0.
PackedBatch pack_samples(std::span<const Sample* const> samples);

/// A small generator with a state of one word (splitmix64).
std::uint64_t next_random(std::uint64_t& state);

}  // namespace roofline
