#include "roofline/kernels/block/decoder_step.h"

#include <utility>

#include <mlx/allocator.h>
#include <mlx/backend/cpu/encoder.h>
#include <mlx/primitives.h>
#include <mlx/utils.h>

#include "roofline/base/errors.h"
#include "roofline/kernels/block/scratch.h"

namespace roofline {

namespace {

class DecoderStep : public mx::UnaryPrimitive {
 public:
  DecoderStep(mx::Stream stream, std::shared_ptr<DecoderStepArgs> args)
      : UnaryPrimitive(stream), args_(std::move(args)) {}

  void eval_cpu(const std::vector<mx::array>& inputs, mx::array& out) override {
    out.set_data(args_->scratch->state().logits->take(out.nbytes()));
    auto& encoder = mx::cpu::get_command_encoder(stream());
    encoder.set_input_array(inputs[0]);
    encoder.set_output_array(out);
    // The primitive may be gone when this runs: it holds all it needs.
    encoder.dispatch([args = args_,
                      ids = inputs[0].data<std::int32_t>(),
                      count = inputs[0].size(),
                      logits = out.data<float>()] {
      run_step(
          *args->model,
          {ids, count},
          args->slices,
          *args->scratch,
          *args->pool,
          logits);
    });
  }

  void eval_gpu(const std::vector<mx::array>&, mx::array&) override {
    fail<BugError>(
        "decoder_step: asked to run on a GPU",
        "the fused step is CPU code",
        "Run the model's graph there");
  }

  const char* name() const override { return "DecoderStep"; }

 private:
  std::shared_ptr<DecoderStepArgs> args_;
};

}  // namespace

mx::array decoder_step(const mx::array& ids, DecoderStepArgs args) {
  int rows = 0;
  for (const StepSlice& slice : args.slices) {
    rows += slice.logit_rows;
  }
  const int vocab = args.model->vocab;
  auto shared = std::make_shared<DecoderStepArgs>(std::move(args));
  return mx::array(
      {rows, vocab},
      mx::float32,
      std::make_shared<DecoderStep>(
          mx::default_stream(mx::Device::cpu),
          std::move(shared)),
      {ids});
}

}  // namespace roofline
