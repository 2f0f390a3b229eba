#include "roofline/weights/mlx_packed.h"

#include <gtest/gtest.h>
#include <mlx/mlx.h>

#include <cmath>
#include <cstring>

#include "roofline/base/errors.h"
#include "roofline/weights/checkpoint.h"
#include "roofline/weights/encodings.h"
#include "weights/tiny_model.h"

namespace mx = mlx::core;

namespace roofline {
namespace {

using namespace roofline::testing;
using nlohmann::json;

// Zero and one end of a group are kept exactly, so that the other end can miss
// by a whole step: the range of a sine by the number of codes.
constexpr float kStep4 = 2.0f / 15 + 0.005f;
constexpr float kStep8 = 2.0f / 255 + 0.001f;

std::string bytes_of(mx::array array) {
  array = mx::contiguous(array, false, mx::Device::cpu);
  mx::eval(array);
  return {array.data<char>(), array.nbytes()};
}

std::vector<std::int64_t> shape_of(const mx::array& array) {
  return {array.shape().begin(), array.shape().end()};
}

/// Adds a matrix as MLX stores it quantized; its values are sin(i).
void add_quantized(
    SafetensorsBuilder& out,
    const std::string& module,
    const std::vector<std::int64_t>& shape,
    int bits,
    int group) {
  std::vector<float> values(shape[0] * shape[1]);
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = std::sin(static_cast<float>(i));
  }
  const mx::array matrix(
      values.data(),
      {static_cast<int>(shape[0]), static_cast<int>(shape[1])},
      mx::float32);
  const auto parts = mx::quantize(
      mx::astype(matrix, mx::float16, mx::Device::cpu),
      group,
      bits,
      "affine",
      std::nullopt,
      mx::Device::cpu);
  out.add(module + ".weight", "U32", shape_of(parts[0]), bytes_of(parts[0]))
      .add(module + ".scales", "F16", shape_of(parts[1]), bytes_of(parts[1]))
      .add(module + ".biases", "F16", shape_of(parts[2]), bytes_of(parts[2]));
}

void write_mlx(
    const TempFolder& folder,
    const json& quantization,
    int bits,
    int special_bits) {
  SafetensorsBuilder out;
  for (const auto& [name, shape] : tiny_shapes()) {
    if (shape.size() == 1) {
      out.fill(name + ".weight", shape, 1.0f);
    } else {
      const bool special = name == "lm_head";
      add_quantized(out, name, shape, special ? special_bits : bits, 32);
    }
  }
  json config = tiny_config();
  config["quantization"] = quantization;
  folder.write("config.json", config.dump());
  folder.write("model.safetensors", out.build());
}

void expect_near_sine(const Tensor& tensor, float tolerance) {
  std::vector<float> row(tensor.cols);
  for (std::int64_t r = 0; r < tensor.rows; ++r) {
    decode_row(tensor, r, row);
    for (std::int64_t c = 0; c < tensor.cols; ++c) {
      ASSERT_NEAR(
          row[c],
          std::sin(static_cast<float>(r * tensor.cols + c)),
          tolerance)
          << tensor.name;
    }
  }
}

TEST(MlxPacked, AFolderInMlxLayoutOpens) {
  TempFolder folder;
  write_mlx(folder, {{"group_size", 32}, {"bits", 4}}, 4, 4);
  const auto model = Checkpoint::open(folder.path());
  EXPECT_EQ(model->format(), "safetensors (MLX)");
  const Tensor& down = model->at("layers.0.feed_forward.down");
  EXPECT_EQ(down.encoding, Encoding::mlx_affine);
  EXPECT_EQ(down.cols, kHidden);
  EXPECT_EQ(down.affine.bits, 4);
  EXPECT_EQ(down.total_bytes(), 32u * 64 / 2 + 2 * 32 * 2 * 2);
  expect_near_sine(down, kStep4);
  expect_near_sine(model->at("head"), kStep4);
  EXPECT_EQ(model->at("final_norm").encoding, Encoding::f32);
}

TEST(MlxPacked, ATensorCanHaveBitsOfItsOwn) {
  TempFolder folder;
  write_mlx(
      folder,
      {{"group_size", 32},
       {"bits", 4},
       {"lm_head", {{"group_size", 32}, {"bits", 8}}}},
      4,
      8);
  const auto model = Checkpoint::open(folder.path());
  EXPECT_EQ(model->at("head").affine.bits, 8);
  expect_near_sine(model->at("head"), kStep8);
}

TEST(MlxPacked, AScaleForTheWholeMatrixIsRefusedByName) {
  TempFolder folder;
  const std::string module = "model.layers.0.mlp.down_proj";
  Shapes shapes = tiny_shapes();
  const auto shape = shapes.at(module);
  shapes.erase(module);
  SafetensorsBuilder out;
  add_tensors(out, shapes);
  add_quantized(out, module, shape, 4, 32);
  out.fill(module + ".global_scale", {1}, 2688.0f);
  json config = tiny_config();
  config["quantization"] = {{"group_size", 32}, {"bits", 4}};
  folder.write("config.json", config.dump());
  folder.write("model.safetensors", out.build());
  expect_error<UnsupportedError>(
      [&] { Checkpoint::open(folder.path()); },
      {"down_proj.weight", "global_scale", "quantized without it"});
}

TEST(MlxPacked, BitsThatContradictTheTensorsAreNamed) {
  TempFolder folder;
  write_mlx(folder, {{"group_size", 32}, {"bits", 8}}, 4, 4);
  EXPECT_THROW(Checkpoint::open(folder.path()), CheckpointError);
  write_mlx(folder, {{"group_size", 64}, {"bits", 4}}, 4, 4);
  expect_error<CheckpointError>(
      [&] { Checkpoint::open(folder.path()); },
      {"groups of 64", "config.json"});
}

TEST(MlxPacked, APackedTensorNeedsItsScalesBiasesAndConfig) {
  TempFolder folder;
  write_mlx(folder, {{"group_size", 32}, {"bits", 4}}, 4, 4);
  folder.write("config.json", tiny_config().dump());
  expect_error<CheckpointError>(
      [&] { Checkpoint::open(folder.path()); },
      {"U32", "\"quantization\""});

  SafetensorsBuilder builder;
  add_quantized(builder, "x", {4, 32}, 4, 32);
  const std::string bytes = builder.build();
  const SafetensorsFile file(as_bytes(bytes), "f");
  const auto* weight = file.find("x.weight");
  const auto* scales = file.find("x.scales");
  const auto* biases = file.find("x.biases");
  EXPECT_NO_THROW(mlx_tensor(*weight, scales, biases, {4, 32}, "f"));
  expect_error<CheckpointError>(
      [&] {
        mlx_tensor(*weight, nullptr, biases, {4, 32}, "f");
      },
      {"x.weight", "scales are missing"});
  expect_error<CheckpointError>(
      [&] {
        mlx_tensor(*weight, scales, nullptr, {4, 32}, "f");
      },
      {"biases are missing"});
  expect_error<CheckpointError>(
      [&] {
        mlx_tensor(*weight, weight, biases, {4, 32}, "f");
      },
      {"U32"});
  expect_error<CheckpointError>(
      [&] {
        mlx_tensor(*weight, scales, biases, {2, 32}, "f");
      },
      {"2 bits", "4 × 2"});
}

TEST(MlxPacked, RulesInConfigAreChecked) {
  const auto rule = [](const json& quantization) {
    return packing_of("m", {{"quantization", quantization}}, "config.json");
  };
  EXPECT_EQ(rule({{"bits", 4}, {"group_size", 64}})->group_size, 64);
  EXPECT_FALSE(rule({{"bits", 4}, {"group_size", 64}, {"m", false}}));
  EXPECT_FALSE(packing_of("m", json::object(), "x"));
  for (const json& bad :
       {json{{"bits", 7}, {"group_size", 64}},
        json{{"bits", -4}, {"group_size", 64}},
        json{{"bits", 4}, {"group_size", 0}},
        json{{"bits", 4}},
        json{{"bits", "4"}, {"group_size", 64}}}) {
    expect_error<CheckpointError>([&] { rule(bad); }, {"config.json", "bits"});
  }
  EXPECT_EQ(rule({{"mode", "nvfp4"}})->group_size, 16);
  EXPECT_EQ(rule({{"mode", "mxfp8"}, {"bits", 8}})->scheme, "mxfp8");
  expect_error<UnsupportedError>(
      [&] {
        rule({{"mode", "int9"}, {"bits", 4}, {"group_size", 32}});
      },
      {"int9", "affine"});
}

TEST(MlxPacked, SmallFloatsDecodeAsMlxDecodesThem) {
  constexpr int kRows = 5, kCols = 128;
  std::vector<float> values(kRows * kCols);
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = 3 * std::sin(static_cast<float>(i * i));
  }
  const mx::array floats(values.data(), {kRows, kCols}, mx::float32);
  for (const char* mode : {"mxfp4", "nvfp4", "mxfp8"}) {
    SCOPED_TRACE(mode);
    const auto parts = mx::quantize(
        floats,
        std::nullopt,
        std::nullopt,
        mode,
        std::nullopt,
        mx::Device::cpu);
    const mx::array want = mx::dequantize(
        parts[0],
        parts[1],
        std::nullopt,
        std::nullopt,
        std::nullopt,
        mode,
        std::nullopt,
        mx::float32,
        mx::Device::cpu);
    const std::string wanted = bytes_of(want);
    SafetensorsBuilder builder;
    builder.add("m.weight", "U32", shape_of(parts[0]), bytes_of(parts[0]))
        .add("m.scales", "U8", shape_of(parts[1]), bytes_of(parts[1]));
    const std::string bytes = builder.build();
    const SafetensorsFile file(std::as_bytes(std::span(bytes)), "x");
    const auto packing =
        packing_of("m", {{"quantization", {{"mode", mode}}}}, "x");
    const Tensor tensor = mlx_tensor(
        *file.find("m.weight"),
        file.find("m.scales"),
        nullptr,
        *packing,
        "x");
    ASSERT_EQ(tensor.cols, kCols);
    std::vector<float> row(kCols);
    for (int r = 0; r < kRows; ++r) {
      decode_row(tensor, r, row);
      for (int c = 0; c < kCols; ++c) {
        float expected;
        std::memcpy(&expected, wanted.data() + 4 * (r * kCols + c), 4);
        ASSERT_EQ(row[c], expected) << r << " " << c;
      }
    }
    expect_error<CheckpointError>(
        [&] {
          mlx_tensor(
              *file.find("m.weight"),
              file.find("m.weight"),
              nullptr,
              *packing,
              "x");
        },
        {"m.weight", "U8"});
  }
}

}  // namespace
}  // namespace roofline
