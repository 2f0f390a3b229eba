#include "roofline/kernels/attention/cached_attention.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include <mlx/allocator.h>
#include <mlx/backend/cpu/encoder.h>
#include <mlx/ops.h>
#include <mlx/primitives.h>

#include "roofline/base/errors.h"
#include "roofline/base/thread_pool.h"
#include "roofline/kernels/op_memory.h"

namespace roofline {

namespace {

/// Tokens of one head that a piece of work writes.
constexpr int kEncodeTokens = 64;

/// What both ops share: they run on the CPU's stream and have no gradient.
class CpuOnly : public mx::Primitive {
 public:
  explicit CpuOnly(mx::Stream stream) : Primitive(stream) {}

  void eval_gpu(const std::vector<mx::array>&, std::vector<mx::array>&)
      override {
    fail<BugError>(
        std::string(name()) + ": asked to run on a GPU",
        "It is an op of the CPU's kernels",
        "Use MLX's own ops there");
  }

 protected:
  /// Registers the arrays and gives the outputs memory.
  mx::cpu::CommandEncoder& open(
      const std::vector<mx::array>& inputs,
      std::vector<mx::array>& outputs) {
    auto& encoder = mx::cpu::get_command_encoder(stream());
    wait_if_large(outputs, stream());
    for (const auto& input : inputs) {
      encoder.set_input_array(input);
    }
    for (auto& output : outputs) {
      output.set_data(mx::allocator::malloc(output.nbytes()));
      encoder.set_output_array(output);
    }
    return encoder;
  }
};

/// Puts the memory of a part's arrays into the view, from inputs[at] on.
/// Returns how many were taken.
std::size_t place(
    const std::vector<mx::array>& inputs,
    std::size_t at,
    void*& floats,
    KvCodes& codes) {
  const auto memory = [&](std::size_t i) {
    return const_cast<char*>(inputs[at + i].data<char>());
  };
  floats = memory(0);
  if (codes.bits == 0) {
    return 1;
  }
  codes.codes = reinterpret_cast<std::uint8_t*>(memory(1));
  codes.scales = reinterpret_cast<std::uint16_t*>(memory(2));
  codes.biases = reinterpret_cast<std::uint16_t*>(memory(3));
  return 4;
}

class CachedAttentionOp : public CpuOnly {
 public:
  CachedAttentionOp(mx::Stream stream, CachedAttention what)
      : CpuOnly(stream),
        what_(std::make_shared<const CachedAttention>(std::move(what))) {}

  const char* name() const override { return "CachedAttention"; }

  void eval_cpu(
      const std::vector<mx::array>& inputs,
      std::vector<mx::array>& outputs) override {
    AttentionArgs args = what_->args;
    args.q = inputs[0].data<float>();
    std::size_t at = 1;
    if (args.sinks != nullptr) {
      args.sinks = inputs[at++].data<float>();
    }
    at += place(inputs, at, args.kv.keys, args.kv.key_codes);
    if (what_->latent) {
      args.kv.values = args.kv.keys;
      args.kv.value_codes = args.kv.key_codes;
    } else {
      place(inputs, at, args.kv.values, args.kv.value_codes);
    }
    auto& encoder = open(inputs, outputs);
    args.out = outputs[0].data<float>();
    // The primitive may be gone when this runs: it holds all it needs.
    encoder.dispatch([what = what_, args]() mutable {
      args.kv.segments = what->segments;
      attend(args, ThreadPool::global());
    });
  }

 private:
  std::shared_ptr<const CachedAttention> what_;
};

class KvCodesOp : public CpuOnly {
 public:
  KvCodesOp(mx::Stream stream, const KvCodes& shape, int heads)
      : CpuOnly(stream), shape_(shape), heads_(heads) {}

  const char* name() const override { return "KvCodes"; }

  void eval_cpu(
      const std::vector<mx::array>& inputs,
      std::vector<mx::array>& outputs) override {
    auto& encoder = open(inputs, outputs);
    KvCodes to = shape_;
    to.codes = outputs[0].data<std::uint8_t>();
    to.scales = outputs[1].data<std::uint16_t>();
    to.biases = outputs[2].data<std::uint16_t>();
    encoder.dispatch([to, heads = heads_, x = inputs[0].data<float>()] {
      const int steps = (to.slots + kEncodeTokens - 1) / kEncodeTokens;
      auto piece = [&](int index, int) {
        const int head = index / steps;
        const int begin = index % steps * kEncodeTokens;
        const int end = std::min(to.slots, begin + kEncodeTokens);
        for (int t = begin; t < end; ++t) {
          const auto row = static_cast<std::ptrdiff_t>(head) * to.slots + t;
          kv_code_kernels().encode(x + row * to.dims, to, head, t);
        }
      };
      ThreadPool::global().run(heads * steps, piece);
    });
  }

 private:
  KvCodes shape_;
  int heads_;
};

mx::Stream cpu_stream() {
  return mx::default_stream(mx::Device(mx::Device::cpu));
}

mx::array whole(const mx::array& x) {
  return mx::contiguous(x, false, cpu_stream());
}

mx::array whole_floats(const mx::array& x) {
  return whole(mx::astype(x, mx::float32, cpu_stream()));
}

}  // namespace

mx::array cached_attention(
    const mx::array& q,
    const std::vector<mx::array>& keys,
    const std::vector<mx::array>& values,
    const std::optional<mx::array>& sinks,
    CachedAttention what) {
  std::vector<mx::array> inputs = {whole_floats(q)};
  // Says only that there are some; eval fills in where.
  static constexpr float kSomewhere = 0;
  what.args.sinks = sinks ? &kSomewhere : nullptr;
  if (sinks) {
    inputs.push_back(whole_floats(*sinks));
  }
  for (const auto& array : keys) {
    inputs.push_back(whole(array));
  }
  for (const auto& array : values) {
    inputs.push_back(whole(array));
  }
  const mx::Shape shape = {what.args.tokens, what.args.out_stride};
  return mx::array::make_arrays(
      {shape},
      {mx::float32},
      std::make_shared<CachedAttentionOp>(cpu_stream(), std::move(what)),
      inputs)[0];
}

std::vector<mx::array> kv_codes_of(const mx::array& x, int bits, int group) {
  KvCodes shape;
  shape.bits = bits;
  shape.group = group;
  const int heads = x.shape(1);
  shape.slots = x.shape(2);
  shape.dims = x.shape(3);
  const mx::Shape scales = {1, heads * shape.groups(), shape.slots, 1};
  return mx::array::make_arrays(
      {{1, heads, shape.slots, shape.row_bytes()}, scales, scales},
      {mx::uint8, mx::float16, mx::float16},
      std::make_shared<KvCodesOp>(cpu_stream(), shape, heads),
      {whole_floats(x)});
}

}  // namespace roofline
