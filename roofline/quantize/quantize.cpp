#include "roofline/quantize/quantize.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "roofline/base/thread_pool.h"
#include "roofline/quantize/overlay.h"
#include "roofline/quantize/round_model.h"

namespace roofline {

namespace {

/// Hands on changed floats, and shows them to the student.
class StudentFloats : public QuantizeSink {
 public:
  StudentFloats(OverlayCheckpoint& student, QuantizeSink& sink)
      : student_(student), sink_(sink) {}
  void put_codes(
      const std::string& name,
      const PackedCodes& codes,
      std::int64_t first_row) override {
    sink_.put_codes(name, codes, first_row);
  }
  void put_floats(const std::string& name, const FloatMatrix& values) override {
    student_.replace(name, values);
    sink_.put_floats(name, values);
  }

 private:
  OverlayCheckpoint& student_;
  QuantizeSink& sink_;
};

DistillResult distilled(
    const Checkpoint& checkpoint,
    const FormatPlan& plan,
    const QuantizeOptions& options,
    QuantizeSink& sink) {
  CodesByName codes;
  OverlayCheckpoint student(checkpoint);
  StudentFloats floats(student, sink);
  round_model(checkpoint, plan, options, options.start, floats, &codes);
  auto& pool = ThreadPool::global();
  const NameSet trained = distilled_names(checkpoint, codes);
  for (const auto& [name, matrix] : codes) {
    if (!trained.contains(name)) {
      student.replace(name, decode(matrix, pool));
    }
  }
  FloatsByName norms;
  const DistillResult result = distill(
      checkpoint,
      student,
      trained,
      options.distill,
      options.progress,
      options.stop,
      codes,
      norms);
  if (options.stop && options.stop()) {
    throw QuantizeCancelled();
  }
  for (const auto& [name, matrix] : codes) {
    sink.put_codes(name, pack_codes(matrix, pool), 0);
  }
  for (const auto& [name, values] : norms) {
    sink.put_floats(name, values);
  }
  return result;
}

}  // namespace

std::vector<std::vector<std::int32_t>> spread_windows(
    std::span<const std::int32_t> tokens,
    int window,
    int total,
    std::optional<std::int32_t> first_token) {
  const auto width = std::min(static_cast<std::size_t>(window), tokens.size());
  if (width == 0) {
    return {};
  }
  const std::size_t all = tokens.size() / width;
  const std::size_t count =
      std::clamp(static_cast<std::size_t>(total) / width, std::size_t{1}, all);
  std::vector<std::vector<std::int32_t>> windows;
  for (std::size_t i = 0; i < count; ++i) {
    const auto part = tokens.subspan(i * all / count * width, width);
    windows.emplace_back(part.begin(), part.end());
    if (first_token) {
      windows.back().front() = *first_token;
    }
  }
  return windows;
}

std::optional<DistillResult> quantize_model(
    const Checkpoint& checkpoint,
    const FormatPlan& plan,
    const QuantizeOptions& options,
    QuantizeSink& sink) {
  if (options.method == QuantizeMethod::dwq) {
    return distilled(checkpoint, plan, options, sink);
  }
  round_model(checkpoint, plan, options, options.method, sink, nullptr);
  return std::nullopt;
}

}  // namespace roofline
