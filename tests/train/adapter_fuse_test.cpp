#include <gtest/gtest.h>

#include <set>

#include <mlx/ops.h>

#include "roofline/base/errors.h"
#include "roofline/model/adapter.h"
#include "roofline/model/logits.h"
#include "roofline/train/fuse.h"
#include "roofline/weights/json_file.h"
#include "train/training_helpers.h"

namespace roofline {
namespace {

using testing::max_error;
using testing::open_golden;
using testing::ScratchFolder;
using testing::to_host;
namespace fs = std::filesystem;

mx::array waves(int rows, int cols, float size) {
  return mx::multiply(
      mx::sin(mx::reshape(
          mx::arange(1.0, 1.0 + rows * cols, mx::float32),
          {rows, cols})),
      mx::array(size));
}

enum class Lengths { kept, given };

AdapterMatrix some_matrix(
    const Checkpoint& checkpoint,
    const char* name,
    float size,
    Lengths lengths) {
  const auto& tensor = checkpoint.at(name);
  const auto rows = static_cast<int>(tensor.rows);
  AdapterMatrix matrix{
      name,
      waves(3, static_cast<int>(tensor.cols), size),
      waves(rows, 3, size)};
  if (lengths == Lengths::given) {
    matrix.magnitude =
        mx::add(mx::reshape(waves(rows, 1, 0.3f), {rows}), mx::array(0.8f));
  }
  return matrix;
}

Adapter some_adapter(
    const Checkpoint& checkpoint,
    float size,
    Lengths lengths = Lengths::kept) {
  Adapter adapter;
  adapter.rank = 3;
  adapter.scale = 2;
  for (const char* name :
       {"layers.1.attention.q",
        "layers.1.attention.v",
        "layers.1.feed_forward.down",
        "layers.2.attention.q",
        "layers.2.attention.v",
        "layers.2.feed_forward.down"}) {
    adapter.matrices.push_back(some_matrix(checkpoint, name, size, lengths));
  }
  return adapter;
}

std::vector<float> logits_with(
    const Checkpoint& checkpoint,
    const std::vector<AdapterChoice>& adapters,
    std::span<const std::int32_t> ids) {
  ModelOptions options;
  options.device = DeviceChoice::cpu;
  options.exact = true;
  options.cache_packed = false;
  const auto decoder = load_with_adapters(checkpoint, options, adapters);
  return to_host(run_logits(*decoder, ids, 16));
}

class AdapterTest : public ::testing::TestWithParam<std::string> {
 protected:
  AdapterTest() { mx::set_default_device(mx::Device::cpu); }
  testing::Golden golden_ = open_golden(GetParam());
  ScratchFolder folder_{"adapter"};
};

TEST_P(AdapterTest, BothFormsReadBackAsTheyWereWritten) {
  for (const auto lengths : {Lengths::kept, Lengths::given}) {
    const auto adapter = some_adapter(*golden_.checkpoint, 0.1f, lengths);
    std::vector<std::vector<float>> logits;
    for (const auto format : {AdapterFormat::mlx_lm, AdapterFormat::peft}) {
      const fs::path folder =
          folder_.path() / (format == AdapterFormat::peft ? "peft" : "mlx");
      fs::create_directories(folder);
      write_adapter(adapter, *golden_.checkpoint, folder, format);
      const auto read = read_adapter(folder, *golden_.checkpoint);
      EXPECT_FLOAT_EQ(read.scale, 2);
      EXPECT_EQ(read.rank, 3);
      EXPECT_EQ(read.matrices.size(), adapter.matrices.size());
      logits.push_back(
          logits_with(*golden_.checkpoint, {{folder, 1.0f}}, golden_.ids[0]));
    }
    EXPECT_EQ(logits[0], logits[1]);
    EXPECT_GT(max_error(logits[0], golden_.logits[0]), 0.01);
  }
}

TEST_P(AdapterTest, SeveralAdaptersAddUpByTheirWeights) {
  const auto adapter = some_adapter(*golden_.checkpoint, 0.1f);
  write_adapter(
      adapter,
      *golden_.checkpoint,
      folder_.path(),
      AdapterFormat::mlx_lm);
  const auto once = logits_with(
      *golden_.checkpoint,
      {{folder_.path(), 1.0f}},
      golden_.ids[0]);
  const auto parts = logits_with(
      *golden_.checkpoint,
      {{folder_.path(), 0.25f}, {folder_.path(), 0.75f}},
      golden_.ids[0]);
  EXPECT_LT(max_error(once, parts), 1e-4);
  const auto opposite = logits_with(
      *golden_.checkpoint,
      {{folder_.path(), 1.0f}, {folder_.path(), -1.0f}},
      golden_.ids[0]);
  EXPECT_LT(max_error(opposite, golden_.logits[0]), 0.01);
}

TEST_P(AdapterTest, AFusedModelAnswersAsTheAdapterDoes) {
  for (const auto lengths : {Lengths::kept, Lengths::given}) {
    const ScratchFolder inner("fused");
    const Adapter adapters[] = {
        some_adapter(*golden_.checkpoint, 0.3f, lengths)};
    const fs::path own = inner.path() / "own";
    fs::create_directories(own);
    write_adapter(adapters[0], *golden_.checkpoint, own, AdapterFormat::mlx_lm);
    const float weights[] = {1.0f};
    const fs::path fused = inner.path() / "fused";
    write_changed_model(
        *golden_.checkpoint,
        adapter_changes(adapters, weights),
        fused,
        FuseQuantized::decode,
        false);
    const auto adapted =
        logits_with(*golden_.checkpoint, {{own, 1.0f}}, golden_.ids[0]);
    const auto merged =
        logits_with(*Checkpoint::open(fused), {}, golden_.ids[0]);
    // The file holds bfloat16: 2⁻⁹ of each weight.
    double size = 0;
    for (const float value : adapted) {
      size = std::max(size, static_cast<double>(std::fabs(value)));
    }
    EXPECT_LT(max_error(adapted, merged), 0.05 * size);
    EXPECT_GT(max_error(adapted, golden_.logits[0]), 0.2 * size);
    EXPECT_THROW(
        write_changed_model(
            *golden_.checkpoint,
            adapter_changes(adapters, weights),
            fused,
            FuseQuantized::decode,
            false),
        UserError)
        << "it is there already";
  }
}

INSTANTIATE_TEST_SUITE_P(
    Goldens,
    AdapterTest,
    ::testing::Values("llama", "phi3", "gemma2"));

TEST(LatentAdapter, BothFormsAndTheFusedModelAnswerAlike) {
  mx::set_default_device(mx::Device::cpu);
  const auto golden = open_golden("deepseek_v3");
  for (const auto lengths : {Lengths::kept, Lengths::given}) {
    Adapter adapter;
    adapter.rank = 3;
    adapter.scale = 2;
    for (const char* name :
         {"layers.0.attention.q_a",
          "layers.0.attention.q_b",
          "layers.0.attention.kv_a",
          "layers.1.attention.kv_b"}) {
      adapter.matrices.push_back(
          some_matrix(*golden.checkpoint, name, 0.15f, lengths));
    }
    const ScratchFolder folder("latent");
    std::vector<std::vector<float>> logits;
    for (const auto format : {AdapterFormat::mlx_lm, AdapterFormat::peft}) {
      const fs::path own =
          folder.path() / (format == AdapterFormat::peft ? "peft" : "mlx");
      fs::create_directories(own);
      write_adapter(adapter, *golden.checkpoint, own, format);
      logits.push_back(
          logits_with(*golden.checkpoint, {{own, 1.0f}}, golden.ids[0]));
    }
    EXPECT_EQ(logits[0], logits[1]);
    EXPECT_GT(max_error(logits[0], golden.logits[0]), 0.2);
    const float weights[] = {1.0f};
    write_changed_model(
        *golden.checkpoint,
        adapter_changes({&adapter, 1}, weights),
        folder.path() / "fused",
        FuseQuantized::decode,
        false);
    const auto fused = Checkpoint::open(folder.path() / "fused");
    // bfloat16 of the changed weights.
    EXPECT_LT(
        max_error(logits_with(*fused, {}, golden.ids[0]), logits[0]),
        0.1);
    const auto config =
        read_json_file(folder.path() / "peft/adapter_config.json");
    const std::set<std::string> targets = config["target_modules"];
    EXPECT_EQ(
        targets,
        (std::set<std::string>{
            "q_a_proj",
            "q_b_proj",
            "kv_a_proj_with_mqa",
            "kv_b_proj"}));
  }
}

TEST(AdapterErrors, NameWhatIsWrong) {
  mx::set_default_device(mx::Device::cpu);
  const auto llama = open_golden("llama");
  const ScratchFolder folder("wrong");
  EXPECT_THROW(read_adapter(folder.path(), *llama.checkpoint), UserError);
  auto adapter = some_adapter(*llama.checkpoint, 0.1f);
  adapter.matrices[0].a = waves(3, 8, 0.1f);  // not the model's width
  write_adapter(
      adapter,
      *llama.checkpoint,
      folder.path(),
      AdapterFormat::mlx_lm);
  ModelOptions options;
  options.device = DeviceChoice::cpu;
  const AdapterChoice choice{folder.path(), 1.0f};
  EXPECT_THROW(
      load_with_adapters(*llama.checkpoint, options, {&choice, 1}),
      CheckpointError);
}

}  // namespace
}  // namespace roofline
