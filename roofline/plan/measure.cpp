#include "roofline/plan/measure.h"

#include <algorithm>
#include <memory>
#include <vector>

#include <mlx/memory.h>
#include <mlx/transforms.h>

#include "roofline/base/memory.h"
#include "roofline/plan/roof.h"

namespace roofline {

namespace {

namespace mx = mlx::core;

std::vector<std::int32_t> synthetic(std::int64_t count, int vocab) {
  std::vector<std::int32_t> ids(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) {
    ids[static_cast<std::size_t>(i)] =
        static_cast<std::int32_t>((i + 1) * 7919 % vocab);
  }
  return ids;
}

}  // namespace

MeasuredMemory measure_memory(
    Decoder& decoder,
    const InferenceQuestion& question,
    const MeasureOptions& options) {
  const auto ids = synthetic(question.context_tokens, decoder.spec().vocab);
  MeasuredMemory measured;
  measured.loaded = mx::get_active_memory();
  KvOptions kv;
  kv.max_chunk = question.prefill_step;
  std::vector<std::unique_ptr<KvCache>> caches;
  for (int i = 0; i < question.batch; ++i) {
    caches.push_back(decoder.make_cache(kv));
  }
  const auto step = [&](std::span<const std::int32_t> tokens) {
    std::vector<Slice> slices;
    for (const auto& cache : caches) {
      slices.push_back({cache.get(), tokens, LogitRows::last});
    }
    mx::eval(decoder.forward(slices, question.context_tokens));
  };
  const auto longest = static_cast<std::size_t>(question.prefill_step);
  const auto computed =
      options.last_steps > 0
          ? longest * static_cast<std::size_t>(options.last_steps)
          : ids.size();
  std::span<const std::int32_t> left(ids);
  while (left.size() > 1) {
    const auto count = std::min(longest, left.size() - 1);
    if (left.size() - 1 > computed) {
      for (const auto& cache : caches) {
        cache->reserve(static_cast<int>(count));
      }
    } else {
      step(left.first(count));
    }
    left = left.subspan(count);
    if (options.progress) {
      options.progress(
          1 -
          static_cast<double>(left.size()) / static_cast<double>(ids.size()));
    }
  }
  step(left);
  measured.peak = peak_memory_bytes();
  measured.resident_files = resident_file_bytes();
  const std::uint64_t resident = resident_bytes();
  measured.resident_anonymous = resident > measured.resident_files
                                    ? resident - measured.resident_files
                                    : 0;
  for (const auto& cache : caches) {
    measured.kv += cache->bytes();
  }
  measured.weights = decoder.step_weight_bytes();
  return measured;
}

}  // namespace roofline
