#include "roofline/model/graph_weights.h"

#include <gtest/gtest.h>

#include <unistd.h>

#include <fstream>
#include <unordered_map>

#include <nlohmann/json.hpp>

#include "model/golden.h"
#include "roofline/model/logits.h"
#include "roofline/spec/tensor_parts.h"

namespace roofline {
namespace {

using testing::golden_folder;
using testing::max_error;
using testing::rows_of;
using testing::to_host;

/// Both sides calculate in float32; only the order of sums differs.
constexpr double kSame = 1e-3;

using Arrays = std::unordered_map<std::string, mx::array>;

ModelOptions exact_graph() {
  ModelOptions options;
  options.device = DeviceChoice::cpu;
  options.exact = true;
  options.graph_on_cpu = true;
  return options;
}

std::vector<float> logits_of(
    const std::filesystem::path& path,
    const ModelOptions& options,
    std::span<const std::int32_t> ids) {
  const auto checkpoint = Checkpoint::open(path);
  const auto decoder = Decoder::load(*checkpoint, options);
  return to_host(run_logits(*decoder, ids, 16));
}

Arrays load(const std::filesystem::path& path) {
  return mx::load_safetensors(
             path.string(),
             mx::default_stream(mx::Device::cpu))
      .first;
}

// ---- GGUF ----

class GraphWeightsGguf : public ::testing::TestWithParam<std::string> {};

TEST_P(GraphWeightsGguf, GivesTheLogitsOfTheDecodedWeights) {
  const auto folder = std::filesystem::path(ROOFLINE_TEST_DATA) / "gguf";
  const auto expected = load(folder / "expected.safetensors");
  const auto ids = to_host(mx::astype(expected.at("input_ids"), mx::float32));
  const auto logits = logits_of(
      folder / (GetParam() + ".gguf"),
      exact_graph(),
      std::vector<std::int32_t>(ids.begin(), ids.end()));
  EXPECT_LT(max_error(logits, to_host(expected.at(GetParam()))), kSame);
}

INSTANTIATE_TEST_SUITE_P(
    AllTypes,
    GraphWeightsGguf,
    ::testing::Values(
        "llama-f16",
        "llama-q8_0",
        "llama-q4_0-v2",
        "llama-q4_1",
        "llama-mixed"),
    [](const auto& info) {
      auto name = info.param;
      std::replace(name.begin(), name.end(), '-', '_');
      return name;
    });

TEST(GraphWeights, CodesOfAGgufStayCodes) {
  const auto folder = std::filesystem::path(ROOFLINE_TEST_DATA) / "gguf";
  const auto checkpoint = Checkpoint::open(folder / "llama-q4_0-v2.gguf");
  const GraphWeights weights(*checkpoint, {mx::float16, std::nullopt});
  const auto matrix = weights.matrix("layers.0.feed_forward.down");
  ASSERT_EQ(matrix.parts.size(), 1u);
  EXPECT_EQ(matrix.parts[0].bits, 4);
  EXPECT_EQ(matrix.parts[0].group_size, 32);
  EXPECT_EQ(matrix.parts[0].weight.shape(), mx::Shape({64, 128 * 4 / 32}));
  // Half a byte a weight, and two halves for each group of 32.
  EXPECT_EQ(matrix.bytes(), 64u * 128 / 2 + 64 * 4 * 2 * 2);
}

TEST(GraphWeights, StacksWhatHasOneFormAndKeepsTheRestApart) {
  const auto folder = std::filesystem::path(ROOFLINE_TEST_DATA) / "gguf";
  const std::vector<std::string> names = {
      "layers.0.attention.q",
      "layers.0.attention.k",
      "layers.0.attention.v"};
  const auto same = Checkpoint::open(folder / "llama-q8_0.gguf");
  EXPECT_EQ(GraphWeights(*same, {}).matrix(names).parts.size(), 1u);
  const auto mixed = Checkpoint::open(folder / "llama-mixed.gguf");
  const auto parts = GraphWeights(*mixed, {}).matrix(names).parts;
  ASSERT_EQ(parts.size(), 2u);  // q4_0, then q5_1 and q8_0 as 8 bit codes
  EXPECT_EQ(parts[0].bits, 4);
  EXPECT_EQ(parts[1].bits, 8);
}

TEST(GraphWeights, CodesForOurOwnKernelsArePackedAndRowsReadFromThem) {
  const auto folder = std::filesystem::path(ROOFLINE_TEST_DATA) / "gguf";
  const auto checkpoint = Checkpoint::open(folder / "llama-q4_0-v2.gguf");
  GraphWeightOptions options;
  const auto arrays = GraphWeights(*checkpoint, options).matrix("embed");
  options.cpu_kernels = LinearMode::exact;
  const auto packed = GraphWeights(*checkpoint, options).matrix("embed");
  ASSERT_EQ(packed.parts.size(), 1u);
  ASSERT_TRUE(packed.parts[0].cpu);
  EXPECT_TRUE(packed.parts[0].cpu->matrix.quantized());
  EXPECT_EQ(packed.parts[0].weight.size(), 0u) << "MLX's copy is gone";
  const mx::array ids({3, 0, 7});
  auto difference = mx::max(mx::abs(mx::subtract(
      take_rows(packed, ids, mx::float32),
      take_rows(arrays, ids, mx::float32))));
  EXPECT_LT(difference.item<float>(), 1e-6f);
}

TEST(GraphWeights, ProductsOnOurOwnKernelsAreThoseOfMlx) {
  const auto folder = std::filesystem::path(ROOFLINE_TEST_DATA) / "gguf";
  for (const char* file : {"llama-q4_0-v2.gguf", "llama-f16.gguf"}) {
    const auto checkpoint = Checkpoint::open(folder / file);
    GraphWeightOptions options;
    const std::vector<std::string> names = {
        "layers.0.attention.q",
        "layers.0.attention.k",
        "layers.0.attention.v"};
    const auto arrays = GraphWeights(*checkpoint, options).matrix(names);
    options.cpu_kernels = LinearMode::exact;
    const auto own = GraphWeights(*checkpoint, options).matrix(names);
    for (const int tokens : {1, 5, 70}) {
      const auto x = mx::sin(
          mx::reshape(mx::arange(tokens * 64.0, mx::float32), {tokens, 64}));
      auto difference =
          mx::max(mx::abs(mx::subtract(linear(x, own), linear(x, arrays))));
      EXPECT_LT(difference.item<float>(), 2e-5f) << file << " " << tokens;
    }
  }
}

// ---- MLX's layout ----

/// A golden written again in other layouts, in a folder of its own.
class GraphWeightsMlx : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(::testing::TempDir()) /
              ("roofline_graph_weights_" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder_);
    golden_ = testing::open_golden("qwen2");  // it has biases
    stored_ = load(golden_folder("qwen2") / "model.safetensors");
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path save(
      const std::string& name,
      const Arrays& arrays,
      std::optional<QuantizeChoice> quantized) const {
    const auto path = folder_ / name;
    std::filesystem::create_directories(path);
    nlohmann::json config;
    std::ifstream(golden_folder("qwen2") / "config.json") >> config;
    if (quantized) {
      config["quantization"] = {
          {"bits", quantized->bits},
          {"group_size", quantized->group_size}};
    }
    std::ofstream(path / "config.json") << config;
    mx::save_safetensors((path / "model.safetensors").string(), arrays);
    return path;
  }

  /// {packed, decoded}: the stored weights in MLX's layout with scales of
  /// `dtype`, and what these mean as floats.
  std::pair<Arrays, Arrays> quantize(QuantizeChoice choice, mx::Dtype dtype) {
    Arrays packed, decoded;
    for (const auto& [name, array] : stored_) {
      const bool matrix =
          array.ndim() == 2 && array.shape(1) % choice.group_size == 0;
      if (!matrix) {
        packed.insert({name, array});
        decoded.insert({name, array});
        continue;
      }
      const auto base =
          name.substr(0, name.size() - std::string("weight").size());
      const auto parts = mx::quantize(
          mx::astype(array, dtype),
          choice.group_size,
          choice.bits);
      packed.insert({name, parts[0]});
      packed.insert({base + "scales", parts[1]});
      packed.insert({base + "biases", parts[2]});
      decoded.insert(
          {name,
           mx::dequantize(
               parts[0],
               mx::astype(parts[1], mx::float32),
               mx::astype(parts[2], mx::float32),
               choice.group_size,
               choice.bits)});
    }
    return {packed, decoded};
  }

  std::filesystem::path folder_;
  testing::Golden golden_;
  Arrays stored_;
};

TEST_F(GraphWeightsMlx, PackedWeightsGiveTheLogitsOfTheirDecodedValues) {
  for (const QuantizeChoice& choice :
       {QuantizeChoice{4, 32}, {4, 64}, {8, 32}, {8, 64}}) {
    for (const auto dtype : {mx::bfloat16, mx::float16, mx::float32}) {
      const auto [packed, decoded] = quantize(choice, dtype);
      const auto expected = logits_of(
          save("decoded", decoded, std::nullopt),
          exact_graph(),
          golden_.ids[0]);
      const auto logits = logits_of(
          save("packed", packed, choice),
          exact_graph(),
          golden_.ids[0]);
      EXPECT_LT(max_error(logits, expected), kSame)
          << choice.bits << " bits, groups of " << choice.group_size;
      EXPECT_GT(max_error(logits, golden_.logits[0]), 10 * kSame)
          << "quantizing must show";
    }
  }
}

TEST_F(GraphWeightsMlx, QuantizingAtLoadGivesWhatMlxWouldHaveStored) {
  for (const QuantizeChoice& choice : {QuantizeChoice{4, 32}, {8, 64}}) {
    const auto packed = quantize(choice, mx::float32).first;
    const auto expected = logits_of(
        save("stored", packed, choice),
        exact_graph(),
        golden_.ids[0]);
    auto options = exact_graph();
    options.quantize = choice;
    const auto logits =
        logits_of(golden_folder("qwen2"), options, golden_.ids[0]);
    EXPECT_LT(max_error(logits, expected), kSame);
  }
}

TEST_F(GraphWeightsMlx, PartsAtEightBitsAreThoseOfAnEightBitModel) {
  auto options = exact_graph();
  options.quantize = QuantizeChoice{8, 64};
  const auto folder = golden_folder("qwen2");
  const auto eight = logits_of(folder, options, golden_.ids[0]);
  options.quantize = QuantizeChoice{4, 64, matrix_part_names()};
  EXPECT_EQ(logits_of(folder, options, golden_.ids[0]), eight);
  options.quantize = QuantizeChoice{4, 64, {"v"}};
  EXPECT_NE(logits_of(folder, options, golden_.ids[0]), eight);
}

TEST_F(GraphWeightsMlx, TheActivationsTypeIsTheOneMostBytesAreStoredIn) {
  for (const auto dtype : {mx::bfloat16, mx::float16, mx::float32}) {
    const auto packed = quantize({4, 64}, dtype).first;
    const auto checkpoint =
        Checkpoint::open(save("typed", packed, QuantizeChoice{4, 64}));
    EXPECT_EQ(stored_dtype(*checkpoint), dtype);
  }
}

TEST(GraphWeights, TellAnObserverWhatAProductIsMadeOf) {
  const auto checkpoint = Checkpoint::open(golden_folder("llama"));
  std::vector<std::string> seen;
  int tokens = 0;
  GraphWeightOptions options;
  options.observe = [&](std::span<const std::string> names,
                        const mx::array& x) {
    seen.assign(names.begin(), names.end());
    tokens = x.shape(0);
  };
  const GraphWeights weights(*checkpoint, options);
  const std::vector<std::string> names = {
      "layers.0.attention.q",
      "layers.0.attention.k"};
  const auto matrix = weights.matrix(names);
  EXPECT_TRUE(seen.empty()) << "reading is no product";
  linear(mx::ones({3, checkpoint->spec().dim}), matrix);
  EXPECT_EQ(seen, names);
  EXPECT_EQ(tokens, 3);
}

}  // namespace
}  // namespace roofline
