#include "roofline/quantize/mlx_writer.h"

#include <algorithm>
#include <filesystem>
#include <map>

#include <gtest/gtest.h>
#include <mlx/device.h>

#include "quantize/helpers.h"
#include "roofline/base/errors.h"
#include "roofline/base/thread_pool.h"
#include "roofline/quantize/layered_quality.h"
#include "roofline/quantize/overlay.h"
#include "roofline/quantize/turned_experts.h"
#include "roofline/weights/convert/to_mlx.h"
#include "roofline/weights/encodings.h"

namespace roofline {
namespace {

using testing::golden;

namespace fs = std::filesystem;

constexpr MatrixFormat kFormat{QuantMode::affine, 4, 32};

/// Hands on to a writer, and keeps the values that the codes stand for.
class Both : public QuantizeSink {
 public:
  Both(const Checkpoint& checkpoint, QuantizeSink& writer)
      : overlay(checkpoint), writer_(writer) {}
  void put_codes(
      const std::string& name,
      const PackedCodes& codes,
      std::int64_t first_row) override {
    Tensor tensor;
    tensor.encoding = Encoding::mlx_affine;
    tensor.rows = codes.rows;
    tensor.cols = codes.cols;
    tensor.bytes = codes.words;
    tensor.affine = {
        codes.format.bits,
        codes.format.group_size,
        codes.scale_type,
        codes.scales,
        codes.biases};
    // Pieces come in order.
    FloatMatrix& all = values_[name];
    const FloatMatrix piece = read_matrix(tensor, ThreadPool::global());
    EXPECT_EQ(all.rows, first_row);
    all.rows += piece.rows;
    all.cols = piece.cols;
    all.values.insert(
        all.values.end(),
        piece.values.begin(),
        piece.values.end());
    if (all.rows == overlay.at(name).rows) {
      overlay.replace(name, all);
    } else {
      ++pieces;
    }
    writer_.put_codes(name, codes, first_row);
  }
  void put_floats(const std::string& name, const FloatMatrix& values) override {
    overlay.replace(name, values);
    writer_.put_floats(name, values);
  }
  bool takes_pieces(const std::string& name) const override {
    return writer_.takes_pieces(name);
  }
  OverlayCheckpoint overlay;
  int pieces = 0;  ///< but the last ones

 private:
  std::map<std::string, FloatMatrix> values_;
  QuantizeSink& writer_;
};

std::vector<std::int32_t> spread_tokens(int count, int vocab) {
  std::vector<std::int32_t> tokens;
  for (int i = 0; i < count; ++i) {
    tokens.push_back((i * 37 + i * i) % vocab);
  }
  return tokens;
}

class MlxWriterTest : public ::testing::Test {
 protected:
  void SetUp() override {
    mx::set_default_device(mx::Device::cpu);
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    std::string name = test->name();
    std::replace(name.begin(), name.end(), '/', '_');
    folder_ = fs::temp_directory_path() / ("roofline_mlx_writer_" + name);
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  /// Quantizes, and compares what is read again with what was meant.
  void expect_written_as_meant(const fs::path& source, QuantizeMethod method) {
    const auto checkpoint = with_experts_by_rows(Checkpoint::open(source));
    const MlxPlaces places(*checkpoint);
    FormatPlan plan = plan_formats(*checkpoint, kFormat, {});
    const std::size_t unfit = plan.unfit.size();
    places.settle(plan);
    EXPECT_EQ(plan.unfit.size(), unfit) << "all that fits is in codes";
    MlxWriter writer(
        *checkpoint,
        places,
        plan,
        Encoding::f32,
        folder_ / "out",
        false);
    Both both(*checkpoint, writer);
    QuantizeOptions options;
    options.method = method;
    options.scale_type = Encoding::f32;
    options.piece_weights = 1000;
    const auto tokens = spread_tokens(48, checkpoint->spec().vocab);
    options.windows = {tokens};
    quantize_model(*checkpoint, plan, options, both);
    EXPECT_GT(both.pieces, 0);
    writer.publish("");
    const auto written = Checkpoint::open(folder_ / "out");
    QualityOptions quality;
    quality.windows.context_tokens = 24;
    quality.windows.stride_tokens = 24;
    const auto meant = measure_layered(both.overlay, *written, tokens, quality);
    const auto lost = measure_layered(*checkpoint, *written, tokens, quality);
    EXPECT_GT(lost.mean_kl, 1e-5);
    EXPECT_LT(meant.mean_kl, 1e-4 * lost.mean_kl + 1e-9);
  }

  fs::path folder_;
};

class OfFamily : public MlxWriterTest,
                 public ::testing::WithParamInterface<const char*> {};

TEST_P(OfFamily, HoldsWhatTheCodesStandFor) {
  expect_written_as_meant(golden(GetParam()), QuantizeMethod::plain);
}

TEST_F(MlxWriterTest, ExpertsAreCalibratedEachOnItsOwn) {
  expect_written_as_meant(golden("granitemoe"), QuantizeMethod::gptq);
}

TEST_F(MlxWriterTest, NormsThatChangedAreWritten) {
  expect_written_as_meant(golden("llama"), QuantizeMethod::awq);
}

// Experts one by one, in pairs, stacked; matrices turned and packed.
INSTANTIATE_TEST_SUITE_P(
    Layouts,
    OfFamily,
    ::testing::Values(
        "llama",
        "mixtral",
        "qwen3_moe",
        "granitemoe",
        "dots1",
        "phi3",
        "gpt2",
        "gemma3_text",
        "deepseek_v3",
        "gpt_oss"));

TEST_F(MlxWriterTest, TurnedExpertsSeenByRowsComputeTheSame) {
  const auto turned = Checkpoint::open(golden("gpt_oss"));
  const auto by_rows =
      with_experts_by_rows(Checkpoint::open(golden("gpt_oss")));
  const Tensor& up = by_rows->at("layers.1.feed_forward.experts.3.up");
  const Tensor& both =
      turned->at("layers.1.feed_forward.experts.transposed.gate_up");
  std::vector<float> own(static_cast<std::size_t>(up.cols));
  std::vector<float> stored(static_cast<std::size_t>(both.cols));
  decode_row(up, 5, own);
  for (std::int64_t col = 0; col < up.cols; ++col) {
    decode_row(both, 3 * up.cols + col, stored);
    EXPECT_EQ(own[static_cast<std::size_t>(col)], stored[11]);
  }
  EXPECT_EQ(default_dtype(*by_rows), default_dtype(*turned));
  const auto tokens = spread_tokens(48, turned->spec().vocab);
  QualityOptions quality;
  quality.windows.context_tokens = 24;
  quality.windows.stride_tokens = 24;
  EXPECT_LT(measure_layered(*turned, *by_rows, tokens, quality).mean_kl, 1e-9);
}

TEST_F(MlxWriterTest, TurnedExpertsAreCalibratedEachOnItsOwn) {
  expect_written_as_meant(golden("gpt_oss"), QuantizeMethod::gptq);
}

TEST_F(MlxWriterTest, PackedWeightsAreRefused) {
  ToMlxOptions options;
  options.quantize = MlxForm{4, 32, "affine"};
  convert_to_mlx(golden("llama"), folder_ / "packed", options);
  const auto checkpoint = Checkpoint::open(folder_ / "packed");
  EXPECT_THROW(MlxPlaces{*checkpoint}, UnsupportedError);
}

}  // namespace
}  // namespace roofline
