#include "roofline/model/decoder.h"

#include <gtest/gtest.h>
#include <mlx/device.h>

#include "model/golden.h"
#include "roofline/base/errors.h"

namespace roofline {
namespace {

TEST(Decoder, AGpuThatIsNotThereIsAnErrorThatSaysWhatIs) {
  if (mx::is_available(mx::Device::gpu)) {
    GTEST_SKIP() << "this machine has a GPU";
  }
  const auto golden = testing::open_golden("llama");
  ModelOptions options;
  options.device = DeviceChoice::gpu;
  try {
    Decoder::load(*golden.checkpoint, options);
    FAIL() << "there is no GPU";
  } catch (const UnsupportedError& error) {
    const std::string why = error.what();
    EXPECT_NE(why.find("offers only the CPU"), why.npos) << why;
  }
}

TEST(Decoder, TheCpuRunsTheFusedStepUnlessTheGraphIsAskedFor) {
  const auto golden = testing::open_golden("llama");
  ModelOptions options;
  options.device = DeviceChoice::cpu;
  options.cache_packed = false;
  const auto fused = Decoder::load(*golden.checkpoint, options);
  options.graph_on_cpu = true;
  const auto graph = Decoder::load(*golden.checkpoint, options);
  EXPECT_NE(fused->device_name(), graph->device_name());
  EXPECT_NE(graph->device_name().find("MLX ops"), std::string::npos);
}

TEST(Decoder, ARegimeEndsWhereTheFirstLayerChangesAndTheLastNever) {
  class SpecOnly final : public Decoder {
   public:
    const ModelSpec& spec() const override { return spec_; }
    std::string device_name() const override { return ""; }
    std::unique_ptr<KvCache> make_cache(const KvOptions&) const override {
      return nullptr;
    }
    mx::array forward(std::span<const Slice>, std::int64_t) override {
      return mx::array(0.0f);
    }
    std::size_t step_weight_bytes(bool) const override { return 0; }
    ModelSpec spec_;
  };
  const auto rope_of = [](std::vector<std::int64_t> ends) {
    RopeSpec rope;
    for (const auto end : ends) {
      rope.regimes.push_back({{1.0f}, 1.0f, end});
    }
    return rope;
  };
  SpecOnly decoder;
  decoder.spec_.layers.resize(3);  // the first one has no positions
  decoder.spec_.layers[1].attention->rope = rope_of({100, INT64_MAX});
  decoder.spec_.layers[2].attention->rope = rope_of({30, 60, INT64_MAX});
  EXPECT_EQ(decoder.regime_end(1), 31);
  EXPECT_EQ(decoder.regime_end(30), 31);
  EXPECT_EQ(decoder.regime_end(31), 61);
  EXPECT_EQ(decoder.regime_end(61), 101);
  EXPECT_EQ(decoder.regime_end(101), INT64_MAX);
  // A single regime with a bound, as dynamic scaling has, ends nowhere.
  decoder.spec_.layers[1].attention->rope = rope_of({100});
  decoder.spec_.layers[2].attention->rope.reset();
  EXPECT_EQ(decoder.regime_end(5), INT64_MAX);
}

}  // namespace
}  // namespace roofline
