#include "roofline/kernels/packed_rows.h"

#include <utility>
#include <variant>
#include <vector>

#include <mlx/allocator.h>
#include <mlx/backend/cpu/encoder.h>
#include <mlx/ops.h>
#include <mlx/primitives.h>

#include "roofline/base/errors.h"

namespace roofline {

namespace {

class PackedRows : public mx::UnaryPrimitive {
 public:
  PackedRows(
      mx::Stream stream,
      const PackedMatrix& w,
      std::shared_ptr<const void> keep_alive)
      : UnaryPrimitive(stream), w_(w), keep_alive_(std::move(keep_alive)) {}

  const char* name() const override { return "PackedRows"; }

  void eval_cpu(const std::vector<mx::array>& inputs, mx::array& out) override {
    out.set_data(mx::allocator::malloc(out.nbytes()));
    auto& encoder = mx::cpu::get_command_encoder(stream());
    encoder.set_input_array(inputs[0]);
    encoder.set_output_array(out);
    encoder.dispatch([w = w_,
                      keep_alive = keep_alive_,
                      ids = inputs[0].data<std::int32_t>(),
                      count = inputs[0].size(),
                      to = out.data<float>()] {
      const auto cols = static_cast<std::size_t>(w.cols);
      for (std::size_t i = 0; i < count; ++i) {
        read_packed_row(w, ids[i], std::span(to + i * cols, cols));
      }
    });
  }

  void eval_gpu(const std::vector<mx::array>&, mx::array&) override {
    fail<BugError>(
        "packed_rows: asked to run on a GPU",
        "The weights are packed for CPU kernels",
        "Use MLX's own ops there");
  }

  std::vector<mx::Shape> output_shapes(
      const std::vector<mx::array>& inputs) override {
    return {{static_cast<int>(inputs[0].size()), w_.cols}};
  }

 private:
  PackedMatrix w_;
  std::shared_ptr<const void> keep_alive_;
};

}  // namespace

mx::array packed_rows(
    const mx::array& ids,
    const PackedMatrix& w,
    std::shared_ptr<const void> keep_alive,
    mx::StreamOrDevice s) {
  const mx::Stream stream =
      std::holds_alternative<std::monostate>(s)
          ? mx::default_stream(mx::Device(mx::Device::cpu))
          : mx::to_stream(s);
  const mx::array in =
      mx::contiguous(mx::astype(ids, mx::int32, stream), false, stream);
  return mx::array(
      {static_cast<int>(ids.size()), w.cols},
      mx::float32,
      std::make_shared<PackedRows>(stream, w, std::move(keep_alive)),
      {in});
}

}  // namespace roofline
