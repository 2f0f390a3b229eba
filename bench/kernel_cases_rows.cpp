// What works row by row, products with many rows, and scans.
#include <cstdint>
#include <memory>

#include <fmt/format.h>

#include "kernel_cases_parts.h"
#include "roofline/kernels/bf16_product/bf16_product.h"
#include "roofline/kernels/gemm/gemm.h"
#include "roofline/kernels/norm_rope/norm_rope.h"
#include "roofline/kernels/recurrent/scan.h"
#include "roofline/kernels/round/round.h"
#include "roofline/kernels/row_grads/row_grads.h"

namespace roofline::bench {

namespace {

/// Dims of a rotated head.
constexpr int kHeadDim = 64;
constexpr int kRowFloats = 2048;
constexpr int kRowCount = 8192;
constexpr int kMostArrays = 5;

/// `arrays` arrays of rows in memory; f(row of each) is one row's work.
/// moves: floats read and written for each value.
template <class F>
KernelCase row_case(int arrays, double moves, F f) {
  struct State {
    std::vector<std::vector<float>> arrays;
  };
  const auto s = std::make_shared<State>();
  constexpr std::size_t kCount = std::size_t{kRowCount} * kRowFloats;
  for (int i = 0; i < arrays; ++i) {
    s->arrays.push_back(some_floats(kCount));
  }
  KernelCase out;
  out.run = [s, f] {
    in_pieces(kRowCount, 8, [&](int begin, int end) {
      for (int row = begin; row < end; ++row) {
        float* at[kMostArrays] = {};
        for (std::size_t i = 0; i < s->arrays.size(); ++i) {
          at[i] = s->arrays[i].data() + std::size_t(row) * kRowFloats;
        }
        f(at);
      }
    });
  };
  out.bytes = moves * sizeof(float) * static_cast<double>(kCount);
  return out;
}

KernelCase gemm_case(GemmType type) {
  constexpr int kTokens = 1024;
  constexpr int kSide = 2048;
  struct State {
    std::vector<float> a = some_floats(std::size_t{kTokens} * kSide);
    std::vector<float> b = some_floats(std::size_t{kSide} * kSide);
    std::vector<float> c = some_floats(std::size_t{kTokens} * kSide);
  };
  const auto s = std::make_shared<State>();
  KernelCase out;
  out.run = [s, type] {
    gemm(
        {s->a.data(), kSide, 1},
        kTokens,
        {float_matrix(s->b.data(), kSide, kSide), true},
        s->c.data(),
        kSide,
        GemmResult::replace,
        ThreadPool::global(),
        type);
  };
  out.operations = 2.0 * kTokens * kSide * kSide;
  return out;
}

/// Mamba-2's scan; heads stand for those of several layers.
KernelCase scan_case(int tokens, int heads) {
  constexpr int kState = 128;
  constexpr int kDim = 64;
  struct State {
    std::vector<float> x, steps, decay, b, c, before, after, y;
    Mamba2Scan scan;
  };
  const auto s = std::make_shared<State>();
  const auto t = std::size_t(tokens);
  const auto h = std::size_t(heads);
  s->x = some_floats(t * h * kDim);
  s->y = s->x;
  s->steps.assign(t * h, 0.5f);
  s->decay.assign(h, -0.5f);
  s->b = some_floats(t * kState);
  s->c = s->b;
  s->before = some_floats(h * kDim * kState);
  s->after = s->before;
  s->scan = {
      tokens,
      heads,
      1,
      kDim,
      kState,
      s->x.data(),
      s->steps.data(),
      s->decay.data(),
      s->b.data(),
      s->c.data(),
      s->before.data(),
      s->after.data(),
      s->y.data()};
  KernelCase out;
  out.run = [s, heads] {
    in_pieces(heads, 1, [&](int begin, int) {
      scan_kernels().mamba2(s->scan, begin);
    });
  };
  const double state = 1.0 * heads * kDim * kState;
  out.bytes = 2.0 * sizeof(float) * state;
  out.operations = 6.0 * tokens * state;
  return out;
}

}  // namespace

void add_rows(std::vector<CaseMaker>& cases) {
  const auto shape = fmt::format("rows of {}", kRowFloats);
  const auto add = [&](const char* name, int arrays, double moves, auto f) {
    cases.push_back({name, shape, Roof::bandwidth, [arrays, moves, f] {
                       return row_case(arrays, moves, f);
                     }});
  };
  constexpr int n = kRowFloats;
  static const std::vector<float> weight(n, 1.0f);
  static const std::vector<float> half(n, 0.7f);
  add("norm_rope.rms_norm", 1, 2, [](float** a) {
    row_kernels().rms_norm(a[0], weight.data(), 1e-5f, n, a[0]);
  });
  add("norm_rope.layer_norm", 1, 2, [](float** a) {
    row_kernels().layer_norm(a[0], weight.data(), half.data(), 1e-5f, n, a[0]);
  });
  add("norm_rope.rope", 1, 2, [](float** a) {
    row_kernels().rope(
        a[0],
        n / kHeadDim,
        kHeadDim,
        kHeadDim,
        RopeLayout::half_split,
        half.data(),
        half.data());
  });
  add("norm_rope.activate silu", 3, 3, [](float** a) {
    row_kernels().activate(Activation::silu, a[0], a[1], n, a[2]);
  });
  add("norm_rope.add", 2, 3, [](float** a) {
    row_kernels().add(a[0], a[1], 1e-3f, n);
  });
  add("norm_rope.to_half", 2, 1.5, [](float** a) {
    row_kernels().to_half(a[0], n, reinterpret_cast<Half*>(a[1]));
  });
  add("round.codes", 2, 1.25, [](float** a) {
    auto* codes = reinterpret_cast<std::uint8_t*>(a[1]);
    round_kernels().codes(a[0], n, -1.0f, 7.5f, 15.0f, codes);
  });
  add("round.error", 1, 1, [](float** a) {
    // Kept in the row, so that no call is dropped.
    a[0][0] =
        round_kernels().error(a[0], nullptr, n, 0.13f, -1.0f, 7.5f, 15.0f);
  });
  add("row_grads.softmax", 1, 2, [](float** a) {
    row_grad_kernels().softmax(a[0], n);
  });
  add("row_grads.rms_norm_grad", 3, 3, [](float** a) {
    row_grad_kernels()
        .rms_norm_grad(a[0], weight.data(), a[1], 1e-5f, n, a[2], nullptr);
  });
  add("row_grads.activate_grad silu", 5, 5, [](float** a) {
    row_grad_kernels()
        .activate_grad(Activation::silu, a[0], a[1], a[2], n, a[3], a[4]);
  });
}

void add_others(std::vector<CaseMaker>& cases) {
  cases.push_back({"gemm f32", "1024 × 2048 × 2048", Roof::float32, [] {
                     return gemm_case(GemmType::f32);
                   }});
  if (has_bf16_gemm()) {
    const bool tiles = bf16_product_kernels() != nullptr;
    cases.push_back(
        {"gemm bf16",
         "1024 × 2048 × 2048",
         tiles ? Roof::bfloat16 : Roof::float32,
         [] { return gemm_case(GemmType::bf16); }});
  }
  cases.push_back(
      {"recurrent.mamba2, decode",
       "2048 heads of 64 × 128, 1 token",
       Roof::bandwidth,
       [] { return scan_case(1, 2048); }});
  cases.push_back(
      {"recurrent.mamba2, prefill",
       "64 heads of 64 × 128, 128 tokens",
       Roof::float32,
       [] { return scan_case(128, 64); }});
}

}  // namespace roofline::bench
