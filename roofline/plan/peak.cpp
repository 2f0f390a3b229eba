#include "roofline/plan/peak.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>

#include <mlx/ops.h>
#include <mlx/transforms.h>

#include "roofline/base/clock.h"

namespace roofline {

namespace {

namespace mx = mlx::core;

constexpr int kReadings = 8;
constexpr std::int64_t kPiecesPerThread = 8;
constexpr double kPieceSeconds = 0.0007;

// Rounds that take about as long as a piece shall.
std::int64_t rounds_of_a_piece(const PeakKernel& kernel) {
  constexpr std::int64_t kMost = std::int64_t{1} << 30;
  for (std::int64_t rounds = 256;; rounds *= 2) {
    const auto start = Clock::now();
    volatile std::int64_t sink = kernel.run(rounds);
    (void)sink;
    if (seconds_since(start) > kPieceSeconds || rounds > kMost) {
      return rounds;
    }
  }
}

}  // namespace

double measure_peak_operations(ThreadPool& pool, PeakKind kind) {
  const PeakKernel kernel = peak_kernel(kind);
  const std::int64_t rounds = rounds_of_a_piece(kernel);
  const auto pieces = static_cast<int>(kPiecesPerThread * pool.threads());
  std::atomic<std::int64_t> sink{0};
  auto piece = [&](int, int) { sink += kernel.run(rounds); };
  double best = 0;
  for (int reading = 0; reading < kReadings; ++reading) {
    const auto start = Clock::now();
    pool.run(pieces, piece);
    const double operations = static_cast<double>(kernel.operations) *
                              static_cast<double>(rounds) * pieces;
    best = std::max(best, operations / seconds_since(start));
  }
  return best;
}

double measure_gpu_peak_operations() {
  constexpr int kSide = 4096;
  constexpr int kProducts = 4;
  const mx::array a = mx::ones({kSide, kSide}, mx::bfloat16);
  mx::eval(a, mx::matmul(a, a));
  double best = 0;
  for (int reading = 0; reading < kReadings; ++reading) {
    const auto start = Clock::now();
    mx::array out = a;
    for (int i = 0; i < kProducts; ++i) {
      out = mx::matmul(out, a);
    }
    mx::eval(out);
    const double side = kSide;
    best = std::max(
        best,
        2 * side * side * side * kProducts / seconds_since(start));
  }
  return best;
}

}  // namespace roofline
