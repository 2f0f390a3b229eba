// What the files of optimizers share: their memory, and who makes which.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include <fmt/format.h>

#include "roofline/base/thread_pool.h"
#include "roofline/train/optimizer.h"

namespace roofline::optimizer_parts {

using Floats = std::vector<float>;
using Weights = std::span<const std::span<float>>;
using Gradients = std::span<const std::span<const float>>;

/// Runs fn(begin, end) over pieces of n values.
template <class Fn>
void in_pieces(std::size_t n, Fn fn) {
  constexpr std::size_t kPiece = 1 << 14;  // some microseconds of work
  auto piece = [&](int index, int) {
    const auto begin = static_cast<std::size_t>(index) * kPiece;
    fn(begin, std::min(n, begin + kPiece));
  };
  ThreadPool::global().run(static_cast<int>((n + kPiece - 1) / kPiece), piece);
}

inline std::vector<Floats> zeros(const std::vector<TrainedShape>& shapes) {
  std::vector<Floats> buffers;
  for (const auto& shape : shapes) {
    buffers.emplace_back(shape.size(), 0.0f);
  }
  return buffers;
}

template <class T>
void list(
    std::vector<StateBuffer>& out,
    const char* name,
    std::vector<std::vector<T>>& buffers) {
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    out.push_back(
        {fmt::format("{}.{}", name, i),
         std::as_writable_bytes(std::span(buffers[i]))});
  }
}

inline double mean_square(std::span<const float> values) {
  double sum = 0;
  for (const float value : values) {
    sum += static_cast<double>(value) * value;
  }
  return values.empty() ? 0 : sum / static_cast<double>(values.size());
}

std::unique_ptr<Optimizer> make_adam8(
    const OptimizerOptions& options,
    const std::vector<TrainedShape>& shapes);
std::unique_ptr<Optimizer> make_adafactor(
    const OptimizerOptions& options,
    const std::vector<TrainedShape>& shapes);
std::unique_ptr<Optimizer> make_muon(
    const OptimizerOptions& options,
    const std::vector<TrainedShape>& shapes);

}  // namespace roofline::optimizer_parts
