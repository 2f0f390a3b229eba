#include "roofline/kernels/cpu_op.h"

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <mlx/allocator.h>
#include <mlx/backend/cpu/encoder.h>
#include <mlx/ops.h>
#include <mlx/primitives.h>
#include <mlx/stream.h>

#include "roofline/base/errors.h"
#include "roofline/kernels/op_memory.h"

namespace roofline {

namespace {

class CpuPrimitive : public mx::Primitive {
 public:
  CpuPrimitive(mx::Stream stream, CpuOp op)
      : Primitive(stream), op_(std::move(op)) {}

  const char* name() const override { return op_.name; }

  void eval_cpu(
      const std::vector<mx::array>& inputs,
      std::vector<mx::array>& outputs) override {
    auto& encoder = mx::cpu::get_command_encoder(stream());
    wait_if_large(outputs, stream());
    CpuOpMemory memory;
    for (const auto& input : inputs) {
      encoder.set_input_array(input);
      memory.in.push_back(reinterpret_cast<const float*>(input.data<char>()));
    }
    for (auto& output : outputs) {
      output.set_data(mx::allocator::malloc(output.nbytes()));
      encoder.set_output_array(output);
      memory.out.push_back(output.data<float>());
    }
    encoder.dispatch(
        [eval = op_.eval, memory = std::move(memory)] { eval(memory); });
  }

  void eval_gpu(const std::vector<mx::array>&, std::vector<mx::array>&)
      override {
    fail<BugError>(
        std::string(op_.name) + ": asked to run on a GPU",
        "It is an op of the CPU's kernels",
        "Use MLX's own ops there");
  }

  std::vector<mx::array> vjp(
      const std::vector<mx::array>& primals,
      const std::vector<mx::array>& cotangents,
      const std::vector<int>& argnums,
      const std::vector<mx::array>& outputs) override {
    if (!op_.vjp) {
      fail<BugError>(
          std::string(op_.name) + " has no gradient",
          "It stands in a graph that is differentiated",
          "Keep it out of the loss");
    }
    return op_.vjp(primals, cotangents, outputs, argnums);
  }

  std::vector<mx::Shape> output_shapes(const std::vector<mx::array>&) override {
    return op_.out_shapes;
  }

  bool cheap() const { return op_.cheap && op_.out_shapes.size() == 1; }

 private:
  CpuOp op_;
};

/// The output that x is a plain copy of; x itself if it is none.
const mx::array& original(const mx::array& x) {
  const mx::array* at = &x;
  while (at->has_primitive() && at->inputs().size() == 1 &&
         std::string_view(at->primitive().name()) == "Contiguous") {
    at = &at->inputs()[0];
  }
  return *at;
}

}  // namespace

mx::array computed_again(const mx::array& x) {
  const auto& from = original(x);
  if (!from.has_primitive()) {
    return x;
  }
  const auto* made_by = dynamic_cast<const CpuPrimitive*>(&from.primitive());
  if (made_by == nullptr || !made_by->cheap()) {
    return x;
  }
  std::vector<mx::array> inputs;
  for (const auto& input : from.inputs()) {
    inputs.push_back(computed_again(input));
  }
  return {from.shape(), from.dtype(), from.primitive_ptr(), std::move(inputs)};
}

std::vector<mx::array> cpu_op(CpuOp op, const std::vector<mx::array>& inputs) {
  const auto stream = mx::default_stream(mx::Device(mx::Device::cpu));
  std::vector<mx::array> plain;
  for (const auto& input : inputs) {
    const auto dtype = input.dtype() == mx::int32 ? mx::int32 : mx::float32;
    plain.push_back(
        mx::contiguous(mx::astype(input, dtype, stream), false, stream));
  }
  const auto shapes = op.out_shapes;
  const std::vector<mx::Dtype> dtypes(shapes.size(), mx::float32);
  return mx::array::make_arrays(
      shapes,
      dtypes,
      std::make_shared<CpuPrimitive>(stream, std::move(op)),
      plain);
}

}  // namespace roofline
