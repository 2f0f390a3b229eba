// Checkpoints in quantized layouts of MLX and of other programs: each gives the
// logits that the reference implementation computes from the weights it stands
// for (tests/data/layouts/make_layouts.py), on every way to run a model.
#include <gtest/gtest.h>

#include <filesystem>

#include "model/golden.h"
#include "roofline/base/cpu_features.h"
#include "roofline/model/cpu_decoder.h"
#include "roofline/model/graph_decoder.h"
#include "roofline/model/held_form.h"

namespace roofline {
namespace {

using testing::chunked_logits;
using testing::max_error;
using testing::rows_of;

namespace fs = std::filesystem;

struct Layout {
  const char* name;
  /// Of the down projection.
  Encoding encoding;
  PackedFormat held;
  PackedFormat held_exact;
};

void PrintTo(const Layout& layout, std::ostream* out) {
  *out << layout.name;
}

constexpr PackedFormat kQ4 = PackedFormat::q4;
constexpr PackedFormat kQ8 = PackedFormat::q8;
constexpr PackedFormat kF32 = PackedFormat::f32;

const Layout kLayouts[] = {
    {"gptq_4", Encoding::gptq, kQ4, kF32},
    {"gptq_3", Encoding::gptq, kQ4, kF32},
    {"gptq_8_v2", Encoding::gptq, kQ8, kF32},
    {"gptq_2_act_order", Encoding::gptq, kQ8, kF32},
    {"awq", Encoding::awq, kQ4, kF32},
    {"compressed_4", Encoding::packed_int, kQ4, kF32},
    {"compressed_8", Encoding::packed_int, kQ8, kQ8},
    {"compressed_int8", Encoding::plain_int8, kQ8, kF32},
    {"compressed_fp8", Encoding::fp8, kQ8, kF32},
    {"fp8_blocks", Encoding::fp8, kQ8, kF32},
    {"fp8_tensor", Encoding::fp8, kQ8, kF32},
    {"fp8_power_blocks", Encoding::fp8, kQ8, kF32},
    {"compressed_nvfp4",
     Encoding::mlx_nvfp4,
     PackedFormat::q4_16,
     PackedFormat::q4_16},
    {"compressed_mxfp4",
     Encoding::mlx_mxfp4,
     PackedFormat::q4_table,
     PackedFormat::q4_table},
    {"compressed_mxfp8", Encoding::mlx_mxfp8, kQ8, PackedFormat::bf16},
    {"modelopt_nvfp4",
     Encoding::mlx_nvfp4,
     PackedFormat::q4_16,
     PackedFormat::q4_16},
    {"modelopt_fp8", Encoding::fp8, kQ8, kF32},
    {"modelopt_fp8_blocks", Encoding::fp8, kQ8, kF32},
    {"bitnet", Encoding::bitnet, kQ4, kQ4},
    {"mlx_mxfp4",
     Encoding::mlx_mxfp4,
     PackedFormat::q4_table,
     PackedFormat::q4_table},
    {"mlx_nvfp4",
     Encoding::mlx_nvfp4,
     PackedFormat::q4_16,
     PackedFormat::q4_16},
    {"mlx_mxfp8", Encoding::mlx_mxfp8, kQ8, PackedFormat::bf16},
    {"mlx_mixed", Encoding::mlx_affine, kQ8, kQ8},
};

class Layouts : public ::testing::TestWithParam<Layout> {
 protected:
  void SetUp() override {
    const fs::path folder =
        fs::path(ROOFLINE_TEST_DATA) / "layouts" / GetParam().name;
    const auto arrays = mx::load_safetensors(
                            (folder / "expected.safetensors").string(),
                            mx::default_stream(mx::Device::cpu))
                            .first;
    ids_ = rows_of<std::int32_t>(arrays.at("input_ids"))[0];
    logits_ = rows_of<float>(mx::reshape(arrays.at("logits"), {1, -1}))[0];
    checkpoint_ = Checkpoint::open(folder);
  }
  void TearDown() override { force_isa(best_isa()); }

  static ModelOptions options(bool exact) {
    ModelOptions out;
    out.device = DeviceChoice::cpu;
    out.exact = exact;
    out.cache_packed = false;
    return out;
  }

  std::vector<std::int32_t> ids_;
  std::vector<float> logits_;
  std::unique_ptr<Checkpoint> checkpoint_;
};

INSTANTIATE_TEST_SUITE_P(
    All,
    Layouts,
    ::testing::ValuesIn(kLayouts),
    [](const auto& info) { return std::string(info.param.name); });

TEST_P(Layouts, TheExactStepGivesTheReferenceLogits) {
  for (const Isa isa : runnable_isas()) {
    force_isa(isa);
    SCOPED_TRACE(isa_name(isa));
    const auto decoder = load_cpu_decoder(*checkpoint_, options(true));
    EXPECT_LT(max_error(chunked_logits(*decoder, ids_, 16), logits_), 1e-3);
    EXPECT_LT(max_error(chunked_logits(*decoder, ids_, 1), logits_), 1e-3);
  }
}

TEST_P(Layouts, TheFastStepStaysNear) {
  for (const Isa isa : runnable_isas()) {
    force_isa(isa);
    SCOPED_TRACE(isa_name(isa));
    const auto decoder = load_cpu_decoder(*checkpoint_, options(false));
    // What is quantized again loses half a percent of each weight.
    const Tensor& down = checkpoint_->at("layers.0.feed_forward.down");
    const double most = held_form(down, false).quantize ? 0.15 : 0.03;
    EXPECT_LT(max_error(chunked_logits(*decoder, ids_, 16), logits_), most);
  }
}

TEST_P(Layouts, TheGraphGivesTheReferenceLogits) {
  const auto decoder =
      load_graph_decoder(*checkpoint_, options(true), mx::Device::cpu);
  EXPECT_LT(max_error(chunked_logits(*decoder, ids_, 16), logits_), 0.01);
}

TEST_P(Layouts, LoadingSaysWhatItLost) {
  const bool again =
      held_form(checkpoint_->at("layers.0.feed_forward.down"), false)
          .quantize.has_value();
  const auto loss = requantization_loss(*checkpoint_, false, false);
  ASSERT_EQ(loss.has_value(), again);
  if (loss) {
    EXPECT_GE(loss->matrices, 7);
    EXPECT_GT(loss->error, 1e-4);
    EXPECT_LT(loss->error, 0.006);
  }
  EXPECT_FALSE(requantization_loss(*checkpoint_, true, false));
  EXPECT_FALSE(requantization_loss(*checkpoint_, true, true));
}

TEST_P(Layouts, CodesStayCodes) {
  const Tensor& down = checkpoint_->at("layers.0.feed_forward.down");
  EXPECT_EQ(down.encoding, GetParam().encoding);
  EXPECT_EQ(held_form(down, false).packed.format, GetParam().held);
  EXPECT_EQ(held_form(down, true).packed.format, GetParam().held_exact);
  if (const auto form = held_form(down, false).quantize) {
    EXPECT_LT(requantization_error(down, *form), 0.006);
  }
}

}  // namespace
}  // namespace roofline
