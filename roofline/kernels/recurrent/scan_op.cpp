#include "roofline/kernels/recurrent/scan_op.h"

#include <utility>

#include <mlx/allocator.h>
#include <mlx/backend/cpu/encoder.h>
#include <mlx/ops.h>
#include <mlx/primitives.h>
#include <mlx/transforms.h>

#include "roofline/base/errors.h"
#include "roofline/base/thread_pool.h"
#include "roofline/kernels/op_memory.h"
#include "roofline/kernels/recurrent/scan.h"

namespace roofline {

namespace {

enum class Rule { mamba2, gated_delta };

void run_heads(int heads, const auto& head) {
  auto piece = [&](int index, int) { head(index); };
  ThreadPool::global().run(heads, piece);
}

class Scan : public mx::Primitive {
 public:
  Scan(mx::Stream stream, Rule rule, ScanOps ops)
      : Primitive(stream), rule_(rule), ops_(std::move(ops)) {}

  const char* name() const override { return "RecurrentScan"; }

  bool is_equivalent(const Primitive& other) const override {
    return rule_ == static_cast<const Scan&>(other).rule_;
  }

  void eval_cpu(
      const std::vector<mx::array>& inputs,
      std::vector<mx::array>& outputs) override {
    auto& encoder = mx::cpu::get_command_encoder(stream());
    wait_if_large(outputs, stream());
    for (auto& output : outputs) {
      output.set_data(mx::allocator::malloc(output.nbytes()));
      encoder.set_output_array(output);
    }
    for (const auto& input : inputs) {
      encoder.set_input_array(input);
    }
    if (rule_ == Rule::mamba2) {
      encoder.dispatch([scan = mamba2_of(inputs, outputs)] {
        run_heads(scan.heads, [&](int head) {
          scan_kernels().mamba2(scan, head);
        });
      });
      return;
    }
    encoder.dispatch([scan = gated_delta_of(inputs, outputs)] {
      run_heads(scan.heads, [&](int head) {
        scan_kernels().gated_delta(scan, head);
      });
    });
  }

  void eval_gpu(const std::vector<mx::array>&, std::vector<mx::array>&)
      override {
    fail<BugError>(
        "recurrent scan: a GPU's stream",
        "These kernels are the CPU's",
        "Use the ops in graph_scans.h");
  }

  std::vector<mx::array> vjp(
      const std::vector<mx::array>& primals,
      const std::vector<mx::array>& cotangents,
      const std::vector<int>& argnums,
      const std::vector<mx::array>&) override {
    const auto all = mx::vjp(ops_, primals, cotangents).second;
    std::vector<mx::array> out;
    for (const int argnum : argnums) {
      out.push_back(all[static_cast<std::size_t>(argnum)]);
    }
    return out;
  }

 private:
  static Mamba2Scan mamba2_of(
      const std::vector<mx::array>& in,
      std::vector<mx::array>& out) {
    return {
        in[0].shape(0),
        in[0].shape(1),
        in[3].shape(1),
        in[0].shape(2),
        in[3].shape(2),
        in[0].data<float>(),
        in[1].data<float>(),
        in[2].data<float>(),
        in[3].data<float>(),
        in[4].data<float>(),
        in[5].data<float>(),
        out[1].data<float>(),
        out[0].data<float>()};
  }

  static GatedDeltaScan gated_delta_of(
      const std::vector<mx::array>& in,
      std::vector<mx::array>& out) {
    return {
        in[2].shape(0),
        in[2].shape(1),
        in[0].shape(1),
        in[2].shape(2),
        in[0].shape(2),
        in[0].data<float>(),
        in[1].data<float>(),
        in[2].data<float>(),
        in[3].data<float>(),
        in[4].data<float>(),
        in[5].data<float>(),
        out[1].data<float>(),
        out[0].data<float>()};
  }

  Rule rule_;
  ScanOps ops_;
};

/// values: what y is shaped like.
std::vector<mx::array> scan(
    Rule rule,
    const std::vector<mx::array>& inputs,
    const mx::array& values,
    ScanOps ops) {
  const auto stream = mx::default_stream(mx::Device(mx::Device::cpu));
  std::vector<mx::array> in;
  for (const auto& input : inputs) {
    in.push_back(mx::contiguous(input, false, stream));
  }
  return mx::array::make_arrays(
      {values.shape(), inputs.back().shape()},
      {mx::float32, mx::float32},
      std::make_shared<Scan>(stream, rule, std::move(ops)),
      in);
}

}  // namespace

std::vector<mx::array> mamba2_scan_op(
    const std::vector<mx::array>& inputs,
    ScanOps ops) {
  return scan(Rule::mamba2, inputs, inputs[0], std::move(ops));
}

std::vector<mx::array> gated_delta_scan_op(
    const std::vector<mx::array>& inputs,
    ScanOps ops) {
  return scan(Rule::gated_delta, inputs, inputs[2], std::move(ops));
}

}  // namespace roofline
