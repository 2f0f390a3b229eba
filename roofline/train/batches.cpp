#include "roofline/train/batches.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace roofline {

std::uint64_t next_random(std::uint64_t& state) {
  state += 0x9e3779b97f4a7c15u;
  std::uint64_t x = state;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

namespace {

/// The same on every platform, which std::shuffle isn't.
void shuffle(std::vector<int>& order, std::uint64_t seed) {
  std::uint64_t state = seed;
  for (std::size_t i = order.size(); i > 1; --i) {
    std::swap(order[i - 1], order[next_random(state) % i]);
  }
}

}  // namespace

std::vector<std::vector<int>> plan_epoch(
    std::span<const int> inputs,
    const BatchOptions& options,
    int epoch) {
  std::vector<int> order(inputs.size());
  std::iota(order.begin(), order.end(), 0);
  if (options.shuffle) {
    std::uint64_t seed =
        options.seed * 1000003u + static_cast<std::uint64_t>(epoch);
    shuffle(order, next_random(seed));
  }
  const auto most_tokens =
      static_cast<std::int64_t>(options.batch) * options.max_tokens;
  std::vector<std::vector<int>> batches;
  std::int64_t tokens = 0;
  for (const int index : order) {
    const int own = inputs[static_cast<std::size_t>(index)];
    const bool full =
        batches.empty() ||
        (options.pack ? tokens + own > most_tokens
                      : batches.back().size() ==
                            static_cast<std::size_t>(options.batch));
    if (full) {
      batches.emplace_back();
      tokens = 0;
    }
    batches.back().push_back(index);
    tokens += own;
  }
  return batches;
}

BatchStream::BatchStream(std::vector<int> inputs, const BatchOptions& options)
    : inputs_(std::move(inputs)), options_(options) {
  open(0, 0);
}

const std::vector<int>& BatchStream::at(std::int64_t index) {
  if (index < first_) {
    open(0, 0);
  }
  while (index >= first_ + static_cast<std::int64_t>(plan_.size())) {
    open(epoch_ + 1, first_ + static_cast<std::int64_t>(plan_.size()));
  }
  return plan_[static_cast<std::size_t>(index - first_)];
}

void BatchStream::open(int epoch, std::int64_t first) {
  epoch_ = epoch;
  first_ = first;
  plan_ = plan_epoch(inputs_, options_, epoch);
}

std::int64_t largest_batch(
    std::span<const int> inputs,
    const BatchOptions& options) {
  // Without packing the longest samples may meet; with it the batch is full.
  std::vector<std::int64_t> sizes(inputs.begin(), inputs.end());
  std::sort(sizes.rbegin(), sizes.rend());
  std::int64_t sum = 0;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    if (options.pack) {
      const auto most = std::int64_t{options.batch} * options.max_tokens;
      sum = std::min(most, sum + sizes[i]);
    } else if (i < static_cast<std::size_t>(options.batch)) {
      sum += sizes[i];
    }
  }
  return sum;
}

PackedBatch pack_samples(std::span<const Sample* const> samples) {
  PackedBatch batch;
  batch.targets = std::make_shared<TokenTargets>();
  batch.first.push_back(0);
  for (const Sample* sample : samples) {
    const auto inputs = static_cast<std::size_t>(sample->inputs());
    for (std::size_t i = 0; i < inputs; ++i) {
      batch.ids.push_back(sample->ids[i]);
      batch.targets->targets.push_back(sample->ids[i + 1]);
      const bool learned = sample->learned[i + 1] != 0;
      batch.targets->weights.push_back(learned ? 1.0f : 0.0f);
      batch.learned += learned ? 1 : 0;
    }
    batch.first.push_back(static_cast<int>(batch.ids.size()));
  }
  return batch;
}

}  // namespace roofline
