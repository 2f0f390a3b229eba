#include "roofline/model/cpu_decoder.h"

#include <algorithm>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <mlx/ops.h>

#include "roofline/base/cpu_features.h"
#include "roofline/base/errors.h"
#include "roofline/kernels/block/decoder_step.h"
#include "roofline/model/cpu_ropes.h"
#include "roofline/model/cpu_weights.h"

namespace roofline {

namespace {

class CpuDecoder : public Decoder {
 public:
  CpuDecoder(
      const Checkpoint& checkpoint,
      const ModelOptions& options,
      ThreadPool& pool)
      : spec_(checkpoint.spec()),
        exact_(options.exact),
        kv_(options.kv),
        pool_(pool),
        weights_(CpuWeights::load(checkpoint, options, pool_)),
        ropes_(spec_) {}

  const ModelSpec& spec() const override { return spec_; }
  std::string device_name() const override {
    return fmt::format(
        "CPU, {}, {} thread{}",
        isa_name(active_isa()),
        pool_.threads(),
        pool_.threads() == 1 ? "" : "s");
  }
  std::unique_ptr<KvCache> make_cache(const KvOptions& options) const override {
    KvOptions own = options;
    own.dtype = exact_ ? mx::float32 : mx::float16;
    own.format = kv_;
    own.in_place = true;
    return std::make_unique<KvCache>(spec_, own);
  }
  mx::array forward(std::span<const Slice> slices, std::int64_t context_tokens)
      override;
  std::size_t step_weight_bytes(bool all_logits) const override {
    return weights_->step_bytes(all_logits, scratch_.screened_share());
  }
  std::string cache_note() const override { return weights_->note(); }

 private:
  void check(std::span<const Slice> slices) const;

  ModelSpec spec_;
  bool exact_;
  KvFormat kv_;
  ThreadPool& pool_;
  std::shared_ptr<const CpuWeights> weights_;
  StepScratch scratch_;
  CpuRopes ropes_;
};

/// Refuses what can't be run before any cache has moved.
void CpuDecoder::check(std::span<const Slice> slices) const {
  for (const Slice& slice : slices) {
    if (slice.tokens.empty() || !slice.cache || slice.drawn) {
      fail<BugError>(
          "forward: a slice without tokens or cache",
          "each slice appends at least one token to its cache, which the host "
          "knows",
          "Leave empty slices out");
    }
    const auto same_cache = [&](const Slice& other) {
      return other.cache == slice.cache;
    };
    if (std::count_if(slices.begin(), slices.end(), same_cache) > 1) {
      fail<BugError>(
          "forward: one cache in two slices",
          "a step appends once to each cache",
          "Join the slices' tokens");
    }
    const auto most =
        static_cast<std::size_t>(slice.cache->options().max_chunk);
    if (slice.tokens.size() > most) {
      fail<BugError>(
          fmt::format("forward: a slice of {} tokens", slice.tokens.size()),
          fmt::format("its cache was made for chunks of at most {}", most),
          "Cut the tokens into chunks");
    }
    for (const std::int32_t id : slice.tokens) {
      if (id < 0 || id >= spec_.vocab) {
        fail<UserError>(
            fmt::format("there is no token {}", id),
            fmt::format("the vocabulary has {} tokens", spec_.vocab),
            fmt::format("Give ids from 0 to {}.", spec_.vocab - 1));
      }
    }
  }
}

mx::array CpuDecoder::forward(
    std::span<const Slice> slices,
    std::int64_t context_tokens) {
  check(slices);
  if (slices.empty()) {
    return mx::zeros({0, spec_.vocab}, mx::float32);
  }
  std::vector<StepSlice> steps;
  std::vector<std::int32_t> ids;
  for (const Slice& slice : slices) {
    StepSlice step;
    step.tokens = static_cast<int>(slice.tokens.size());
    step.logit_rows = slice.rows == LogitRows::all ? step.tokens : 1;
    step.deciding = slice.deciding.of_rows(step.logit_rows);
    step.first_position = slice.cache->position();
    slice.cache->reserve(step.tokens);
    step.layers.reserve(spec_.layers.size());
    for (std::size_t i = 0; i < spec_.layers.size(); ++i) {
      step.layers.push_back(slice.cache->view(static_cast<int>(i)));
    }
    step.regimes = ropes_.at(std::max(context_tokens, slice.cache->position()));
    ids.insert(ids.end(), slice.tokens.begin(), slice.tokens.end());
    steps.push_back(std::move(step));
  }
  return decoder_step(weights_->model(), ids, steps, scratch_, pool_);
}

}  // namespace

std::unique_ptr<Decoder> load_cpu_decoder(
    const Checkpoint& checkpoint,
    const ModelOptions& options,
    ThreadPool& pool) {
  return std::make_unique<CpuDecoder>(checkpoint, options, pool);
}

}  // namespace roofline
