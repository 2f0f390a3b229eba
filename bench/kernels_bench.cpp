// Matrix products at the shapes of real models, as shares of this machine's
// roofs. Products with few tokens are timed in turn with a plain read of the
// same memory, so that "of_read" compares two figures of the same moment.
// Options are Google Benchmark's; useful ones:
//   --benchmark_filter=gemv --benchmark_repetitions=5
//   --benchmark_enable_random_interleaving=true
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "packed_scales.h"
#include "roofline/base/cpu_features.h"
#include "roofline/base/thread_pool.h"
#include "roofline/kernels/dense/dense.h"
#include "roofline/kernels/qmm/qmm.h"

namespace roofline {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

struct Shape {
  const char* model;
  const char* matrix;
  int rows;
  int cols;
  PackedForm form;
};

constexpr PackedForm kQ4 = PackedFormat::q4;
constexpr PackedForm kQ8 = PackedFormat::q8;
/// Q4_0: no biases.
constexpr PackedForm kQ4Offset{PackedFormat::q4, 1, 8};

constexpr Shape kShapes[] = {
    {"smollm2_135m", "qkv", 960, 576, kQ4},
    {"smollm2_135m", "o", 576, 576, kQ4},
    {"smollm2_135m", "gate_up", 3072, 576, kQ4},
    {"smollm2_135m", "down", 576, 1536, kQ4},
    {"smollm2_135m", "head", 49152, 576, kQ8},
    {"llama3_2_1b", "qkv", 3072, 2048, kQ4},
    {"llama3_2_1b", "gate_up", 16384, 2048, kQ4},
    {"llama3_2_1b", "down", 2048, 8192, kQ4},
    {"llama3_2_1b", "gate_up_offset", 16384, 2048, kQ4Offset},
    {"qwen2_5_3b", "qkv", 2560, 2048, kQ4},
    {"qwen2_5_3b", "gate_up", 22016, 2048, kQ4},
    {"qwen2_5_3b", "down", 2048, 11008, kQ4},
    {"qwen2_5_3b", "down_q8", 2048, 11008, kQ8},
};

/// Memory in huge pages where the system has them.
class Buffer {
 public:
  explicit Buffer(std::size_t size)
      : size_((size + kAlign - 1) / kAlign * kAlign),
        data_(static_cast<std::byte*>(std::aligned_alloc(kAlign, size_))) {
#if defined(__linux__)
    ::madvise(data_, size_, MADV_HUGEPAGE);
#endif
    std::uint64_t state = 88172645463325252u;
    for (std::size_t i = 0; i < size_; i += sizeof(state)) {
      state ^= state << 13;
      state ^= state >> 7;
      state ^= state << 17;
      std::memcpy(data_ + i, &state, sizeof(state));
    }
  }
  ~Buffer() {
    std::free(data_);
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  std::byte* data() {
    return data_;
  }
  std::size_t size() const {
    return size_;
  }

 private:
  static constexpr std::size_t kAlign = std::size_t{2} << 20;
  std::size_t size_;
  std::byte* data_;
};

std::uint64_t read_all(const std::byte* from, std::size_t size) {
  constexpr std::size_t kAhead = 2048;
  std::uint64_t sums[8] = {};
  for (std::size_t i = 0; i + 64 <= size; i += 64) {
    __builtin_prefetch(from + i + kAhead);
    std::uint64_t words[8];
    std::memcpy(words, from + i, sizeof(words));
    for (int j = 0; j < 8; ++j) {
      sums[j] += words[j];
    }
  }
  std::uint64_t sum = 0;
  for (std::uint64_t part : sums) {
    sum += part;
  }
  return sum;
}

/// Reads size bytes with all threads; returns bytes a second.
double read_bandwidth(const std::byte* from, std::size_t size) {
  constexpr std::size_t kPiece = 256 << 10;
  auto read = [&](int piece, int) {
    const std::size_t begin = static_cast<std::size_t>(piece) * kPiece;
    benchmark::DoNotOptimize(
        read_all(from + begin, std::min(kPiece, size - begin)));
  };
  const auto start = Clock::now();
  ThreadPool::global().run(
      static_cast<int>((size + kPiece - 1) / kPiece),
      read);
  return static_cast<double>(size) / seconds_since(start);
}

/// Copies of one matrix that together don't fit a cache, and an x for them.
struct Problem {
  Problem(const Shape& shape, int tokens, std::size_t at_least)
      : one(packed_bytes(shape.form, shape.rows, shape.cols)),
        copies(static_cast<int>(std::max<std::size_t>(1, at_least / one))),
        memory(one * static_cast<std::size_t>(copies)),
        x(static_cast<std::size_t>(tokens) * shape.cols, 1.0f),
        y(static_cast<std::size_t>(tokens) * shape.rows),
        code_memory(kPlanes * x.size() + 64),
        scales(x.size() / kGroup),
        sums(scales.size()),
        code_sums(scales.size()) {
    for (std::size_t i = 0; i < x.size(); ++i) {
      x[i] = static_cast<float>(i * 2654435761u % 1000u) / 500.0f - 1.0f;
    }
    static_cast<PackedForm&>(matrix) = shape.form;
    matrix.rows = shape.rows;
    matrix.cols = shape.cols;
    matrix.data = memory.data();
    if (matrix.quantized()) {
      for (int i = 0; i < copies; ++i) {
        bench::tame_scales(copy(i), memory.data());
      }
    }
    q.tokens = tokens;
    q.cols = shape.cols;
    const auto at = reinterpret_cast<std::uintptr_t>(code_memory.data());
    q.codes = code_memory.data() + (64 - at % 64) % 64;
    q.scales = scales.data();
    q.sums = sums.data();
    q.code_sums = code_sums.data();
    qmm_kernels().quantize(x.data(), 0, tokens, q);
  }

  PackedMatrix copy(int index) const {
    PackedMatrix m = matrix;
    m.data += one * static_cast<std::size_t>(index);
    return m;
  }

  std::size_t one;
  int copies;
  Buffer memory;
  std::vector<float> x;
  std::vector<float> y;
  std::vector<std::int8_t> code_memory;
  std::vector<float> scales;
  std::vector<float> sums;
  std::vector<std::int32_t> code_sums;
  QuantizedRows q;
  PackedMatrix matrix;
};

/// About 32 KiB of weights a piece, but at least 4 pieces a thread.
int blocks_a_piece(const PackedMatrix& w, int tokens) {
  const int threads = ThreadPool::global().threads();
  const std::size_t block =
      w.bytes() / static_cast<std::size_t>(w.row_blocks());
  const int by_size = static_cast<int>((32 << 10) / block);
  const int by_share = w.row_blocks() / (4 * threads);
  return std::max(1, tokens > 8 ? by_share : std::min(by_size, by_share));
}

enum class Precision { fast, exact };

void multiply(Problem& p, const PackedMatrix& w, Precision precision) {
  const QmmKernels& kernels = qmm_kernels();
  const int blocks = blocks_a_piece(w, p.q.tokens);
  auto piece = [&](int index, int) {
    const int begin = index * blocks;
    const int end = std::min(w.row_blocks(), begin + blocks);
    if (precision == Precision::fast) {
      kernels.fast(w, begin, end, p.q, 0, p.q.tokens, p.y.data(), w.rows);
    } else {
      kernels
          .exact(w, begin, end, p.x.data(), 0, p.q.tokens, p.y.data(), w.rows);
    }
  };
  ThreadPool::global().run((w.row_blocks() + blocks - 1) / blocks, piece);
}

double median(std::vector<double> values) {
  std::nth_element(
      values.begin(),
      values.begin() + values.size() / 2,
      values.end());
  return values[values.size() / 2];
}

/// Few tokens: bandwidth. Each matrix of the working set once an iteration.
void gemv(benchmark::State& state, const Shape& shape, int tokens) {
  Problem p(shape, tokens, std::size_t{160} << 20);
  const std::size_t bytes = p.one * static_cast<std::size_t>(p.copies);
  std::vector<double> product;
  std::vector<double> read;
  for (auto _ : state) {
    const auto start = Clock::now();
    for (int i = 0; i < p.copies; ++i) {
      multiply(p, p.copy(i), Precision::fast);
    }
    const double seconds = seconds_since(start);
    state.SetIterationTime(seconds);
    product.push_back(static_cast<double>(bytes) / seconds);
    read.push_back(read_bandwidth(p.memory.data(), bytes));
  }
  state.counters["GB/s"] = median(product) / 1e9;
  state.counters["read_GB/s"] = median(read) / 1e9;
  state.counters["of_read"] = median(product) / median(read);
  state.counters["us"] = static_cast<double>(p.one) / median(product) * 1e6;
}

/// Many tokens: operations.
void gemm(
    benchmark::State& state,
    const Shape& shape,
    int tokens,
    Precision precision) {
  Problem p(shape, tokens, 0);
  std::vector<double> rate;
  const double operations = 2.0 * tokens * shape.rows * shape.cols;
  for (auto _ : state) {
    const auto start = Clock::now();
    multiply(p, p.matrix, precision);
    const double seconds = seconds_since(start);
    state.SetIterationTime(seconds);
    rate.push_back(operations / seconds);
  }
  state.counters["GOP/s"] = median(rate) / 1e9;
}

void register_all() {
  for (const Shape& shape : kShapes) {
    const std::string name =
        std::string(shape.model) + "/" + shape.matrix + "/";
    for (int tokens : {1, 2, 4, 8}) {
      benchmark::RegisterBenchmark(
          ("gemv/" + name + std::to_string(tokens)).c_str(),
          [&shape, tokens](benchmark::State& s) { gemv(s, shape, tokens); })
          ->UseManualTime()
          ->Iterations(15)
          ->Unit(benchmark::kMillisecond);
    }
    for (int tokens : {16, 64, 512}) {
      benchmark::RegisterBenchmark(
          ("gemm/" + name + std::to_string(tokens)).c_str(),
          [&shape, tokens](benchmark::State& s) {
            gemm(s, shape, tokens, Precision::fast);
          })
          ->UseManualTime()
          ->MinTime(0.3)
          ->Unit(benchmark::kMillisecond);
    }
    benchmark::RegisterBenchmark(
        ("exact/" + name + "128").c_str(),
        [&shape](benchmark::State& s) {
          gemm(s, shape, 128, Precision::exact);
        })
        ->UseManualTime()
        ->MinTime(0.3)
        ->Unit(benchmark::kMillisecond);
  }
}

}  // namespace
}  // namespace roofline

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  benchmark::AddCustomContext("cpu", roofline::cpu_name());
  benchmark::AddCustomContext("kernels", roofline::qmm_kernels().name);
  benchmark::AddCustomContext(
      "threads",
      std::to_string(roofline::ThreadPool::global().threads()));
  roofline::register_all();
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
