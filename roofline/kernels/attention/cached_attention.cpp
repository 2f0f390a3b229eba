#include "roofline/kernels/attention/cached_attention.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include <mlx/allocator.h>
#include <mlx/backend/cpu/encoder.h>
#include <mlx/ops.h>
#include <mlx/primitives.h>

#include "roofline/base/errors.h"
#include "roofline/base/thread_pool.h"
#include "roofline/kernels/norm_rope/norm_rope.h"
#include "roofline/kernels/op_memory.h"

namespace roofline {

namespace {

/// Tokens of one head that a piece of work writes.
constexpr int kWriteTokens = 64;
/// Values up to which waking the pool takes longer than writing them.
constexpr int kFewValues = 1 << 13;

/// Of what tells that an op has run.
const mx::Shape kTokenShape = {1};

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

/// Where the rows of one part come from and go to.
struct WritePart {
  const float* x = nullptr;
  std::int64_t head_stride = 0;
  std::int64_t token_stride = 0;
  std::int64_t dim_stride = 1;
  int heads = 0;
  int dims = 0;
  void* floats = nullptr;
  KvType type = KvType::f16;
  int float_slots = 0;
  KvCodes codes = {};

  /// One token of one head becomes the row of a slot.
  void write(int head, int token, int slot, std::vector<float>& row) const {
    const float* from = x + head * head_stride + token * token_stride;
    if (dim_stride != 1) {
      row.resize(static_cast<std::size_t>(dims));
      for (int d = 0; d < dims; ++d) {
        row[static_cast<std::size_t>(d)] = from[d * dim_stride];
      }
      from = row.data();
    }
    if (codes.bits > 0 && slot >= float_slots) {
      kv_code_kernels().encode(from, codes, head, slot - float_slots);
      return;
    }
    const std::ptrdiff_t at =
        (static_cast<std::ptrdiff_t>(head) * float_slots + slot) * dims;
    if (type == KvType::f32) {
      const std::size_t bytes = sizeof(float) * static_cast<std::size_t>(dims);
      std::memcpy(static_cast<float*>(floats) + at, from, bytes);
    } else {
      row_kernels().to_half(from, dims, static_cast<Half*>(floats) + at);
    }
  }
};

/// All rows of a run's tokens [begin, end) of one head.
void write_tokens(
    const WritePart& part,
    int head,
    const KvRun& run,
    int begin,
    int end) {
  std::vector<float> row;
  for (int t = begin; t < end; ++t) {
    part.write(head, run.first_token + t, run.first_slot + t, row);
  }
}

void write_run(const std::vector<WritePart>& parts, const KvRun& run) {
  int values = 0;
  for (const WritePart& part : parts) {
    values += part.heads * part.dims * run.count;
  }
  const int steps =
      values <= kFewValues ? 1 : (run.count + kWriteTokens - 1) / kWriteTokens;
  const int tokens = (run.count + steps - 1) / steps;
  for (const WritePart& part : parts) {
    auto piece = [&](int index, int) {
      const int begin = index % steps * tokens;
      const int end = std::min(run.count, begin + tokens);
      write_tokens(part, index / steps, run, begin, end);
    };
    if (values > kFewValues) {
      ThreadPool::global().run(part.heads * steps, piece);
      continue;
    }
    for (int head = 0; head < part.heads; ++head) {
      piece(head, 0);
    }
  }
}

class CachedWriteOp : public CpuOnly {
 public:
  CachedWriteOp(
      mx::Stream stream,
      std::vector<KvCodes> sizes,
      std::vector<KvRun> runs)
      : CpuOnly(stream), sizes_(std::move(sizes)), runs_(std::move(runs)) {}

  const char* name() const override { return "CachedWrite"; }

  void eval_cpu(
      const std::vector<mx::array>& inputs,
      std::vector<mx::array>& outputs) override {
    std::vector<WritePart> parts;
    std::size_t at = 0;
    for (const KvCodes& codes : sizes_) {
      WritePart part;
      const mx::array& x = inputs[at++];
      part.x = x.data<float>();
      part.head_stride = x.strides()[1];
      part.token_stride = x.strides()[2];
      part.dim_stride = x.strides()[3];
      part.heads = x.shape(1);
      part.dims = x.shape(3);
      const mx::array& floats = inputs[at];
      part.type = floats.dtype() == mx::float32 ? KvType::f32 : KvType::f16;
      part.float_slots = floats.shape(2);
      part.codes = codes;
      at += place(inputs, at, part.floats, part.codes);
      parts.push_back(part);
    }
    open(inputs, outputs).dispatch([parts = std::move(parts), runs = runs_] {
      for (const KvRun& run : runs) {
        write_run(parts, run);
      }
    });
  }

 private:
  std::vector<KvCodes> sizes_;
  std::vector<KvRun> runs_;
};

mx::Stream cpu_stream() {
  return mx::default_stream(mx::Device(mx::Device::cpu));
}

/// Row by row in memory; no op where it lies there so already.
mx::array whole(const mx::array& x) {
  if (x.is_available() && x.flags().row_contiguous) {
    return x;
  }
  return mx::contiguous(x, false, cpu_stream());
}

mx::array whole_floats(const mx::array& x) {
  return whole(mx::astype(x, mx::float32, cpu_stream()));
}

}  // namespace

CachedAttended cached_attention(
    const mx::array& q,
    const std::vector<mx::array>& keys,
    const std::vector<mx::array>& values,
    const std::optional<mx::array>& sinks,
    const std::vector<mx::array>& after,
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
  inputs.insert(inputs.end(), after.begin(), after.end());
  const mx::Shape shape = {what.args.tokens, what.args.out_stride};
  const bool tells = what.args.kv.any_codes();
  auto op = std::make_shared<CachedAttentionOp>(cpu_stream(), std::move(what));
  if (!tells) {
    return {mx::array(shape, mx::float32, op, std::move(inputs)), std::nullopt};
  }
  auto both = mx::array::make_arrays(
      {shape, kTokenShape},
      {mx::float32, mx::uint8},
      op,
      inputs);
  return {both[0], both[1]};
}

mx::array write_cached(
    const std::vector<CachedPart>& parts,
    std::vector<KvRun> runs,
    const std::vector<mx::array>& after) {
  std::vector<mx::array> inputs;
  std::vector<KvCodes> sizes;
  for (const CachedPart& part : parts) {
    inputs.push_back(mx::astype(part.x, mx::float32, cpu_stream()));
    inputs.insert(inputs.end(), part.held.begin(), part.held.end());
    sizes.push_back(part.codes);
  }
  inputs.insert(inputs.end(), after.begin(), after.end());
  return mx::array(
      kTokenShape,
      mx::uint8,
      std::make_shared<CachedWriteOp>(
          cpu_stream(),
          std::move(sizes),
          std::move(runs)),
      std::move(inputs));
}

}  // namespace roofline
