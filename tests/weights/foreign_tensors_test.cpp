#include "roofline/weights/foreign_tensors.h"

#include <gtest/gtest.h>

#include <functional>

#include "roofline/base/errors.h"
#include "roofline/weights/checkpoint.h"
#include "roofline/weights/encodings.h"
#include "weights/tiny_model.h"

namespace roofline {
namespace {

using namespace roofline::testing;
using nlohmann::json;

using Change = std::function<void(SafetensorsBuilder&, const std::string&)>;

/// Adds GPTQ's four parts of a matrix, 4 bits, one group a row; every code is
/// 9, every zero stored as 7, every scale 1/2.
void add_gptq(
    SafetensorsBuilder& out,
    const std::string& module,
    std::int64_t rows,
    std::int64_t cols) {
  const auto repeated = [](std::int64_t count, const std::string& bytes) {
    std::string text;
    for (std::int64_t i = 0; i < count; ++i) {
      text += bytes;
    }
    return text;
  };
  out.add(
         module + ".qweight",
         "I32",
         {cols / 8, rows},
         repeated(cols / 8 * rows, "\x99\x99\x99\x99"))
      .add(
          module + ".qzeros",
          "I32",
          {1, rows / 8},
          repeated(rows / 8, "\x77\x77\x77\x77"))
      .add(
          module + ".scales",
          "F16",
          {1, rows},
          repeated(rows, std::string("\x00\x38", 2)));
}

json gptq_config() {
  json config = tiny_config();
  config["quantization_config"] = {
      {"quant_method", "gptq"},
      {"bits", 4},
      {"group_size", -1}};
  return config;
}

/// The tiny model with GPTQ's down projection. change: applied after the rest,
/// with the module's name.
void write_gptq(
    const TempFolder& folder,
    const json& config,
    const Change& change = {},
    bool with_gptq = true) {
  const std::string module = "model.layers.0.mlp.down_proj";
  Shapes shapes = tiny_shapes();
  shapes.erase(module);
  SafetensorsBuilder out;
  add_tensors(out, shapes);
  if (with_gptq) {
    add_gptq(out, module, kDim, kHidden);
  }
  if (change) {
    change(out, module);
  }
  folder.write("config.json", config.dump());
  folder.write("model.safetensors", out.build());
}

TEST(ForeignTensors, ZerosOfGptqCountOneMoreThanStored) {
  TempFolder folder;
  write_gptq(folder, gptq_config());
  const auto checkpoint = Checkpoint::open(folder.path());
  EXPECT_EQ(checkpoint->format(), "safetensors (GPTQ)");
  const Tensor& down = checkpoint->at("layers.0.feed_forward.down");
  EXPECT_EQ(down.rows, kDim);
  EXPECT_EQ(down.cols, kHidden);
  EXPECT_EQ(encoding_text(down), "gptq 4-bit/64");
  std::vector<float> row(kHidden);
  decode_row(down, kDim - 1, row);
  EXPECT_EQ(row[0], 0.5f * (9 - 8));
  json config = gptq_config();
  config["quantization_config"]["checkpoint_format"] = "gptq_v2";
  write_gptq(folder, config);
  const auto second = Checkpoint::open(folder.path());
  decode_row(second->at("layers.0.feed_forward.down"), 0, row);
  EXPECT_EQ(row[0], 0.5f * (9 - 7));
}

TEST(ForeignTensors, ABiasOfZerosThatTheModelHasNotIsLeftOut) {
  TempFolder folder;
  const auto bias = [](const std::string& bytes) {
    return [bytes](SafetensorsBuilder& out, const std::string& module) {
      out.add(module + ".bias", "F16", {kDim}, bytes);
    };
  };
  write_gptq(folder, gptq_config(), bias(std::string(2 * kDim, '\0')));
  EXPECT_EQ(
      Checkpoint::open(folder.path())->find("layers.0.feed_forward.down.bias"),
      nullptr);
  write_gptq(folder, gptq_config(), bias(std::string(2 * kDim, '\1')));
  expect_error<CheckpointError>(
      [&] { Checkpoint::open(folder.path()); },
      {"down_proj.bias"});
}

TEST(ForeignTensors, PartsThatDoNotFitAreNamed) {
  struct Case {
    Change change;
    std::initializer_list<std::string_view> parts;
  };
  const auto add = [](const char* end,
                      const char* dtype,
                      std::vector<std::int64_t> shape,
                      std::size_t bytes) -> Change {
    return [=](SafetensorsBuilder& out, const std::string& module) {
      out.add(module + end, dtype, shape, std::string(bytes, '\5'));
    };
  };
  // The same words with other scales, zeros and orders.
  const Case cases[] = {
      {add(".g_idx", "I32", {kHidden}, 4 * kHidden),
       {"g_idx", "group", "of 1"}},
      {add(".g_idx", "I32", {8}, 32), {"g_idx", "64 values"}},
  };
  for (const Case& each : cases) {
    TempFolder folder;
    write_gptq(folder, gptq_config(), each.change);
    expect_error<CheckpointError>(
        [&] { Checkpoint::open(folder.path()); },
        each.parts);
  }
  TempFolder folder;
  const auto words = [](SafetensorsBuilder& out, const std::string& module) {
    out.add(
        module + ".qweight",
        "I32",
        {kHidden / 8, kDim},
        std::string(kHidden / 8 * kDim * 4, '\1'));
  };
  write_gptq(folder, gptq_config(), words, false);
  expect_error<CheckpointError>(
      [&] { Checkpoint::open(folder.path()); },
      {"down_proj.qweight", ".scales", "beside it"});
  const auto small = [&](SafetensorsBuilder& out, const std::string& module) {
    words(out, module);
    out.add(module + ".scales", "F16", {2, kDim}, std::string(4 * kDim, '\1'))
        .add(module + ".qzeros", "I32", {1, 4}, std::string(16, '\1'));
  };
  write_gptq(folder, gptq_config(), small, false);
  expect_error<CheckpointError>(
      [&] { Checkpoint::open(folder.path()); },
      {"32 × 64 values", "2 × 32", "1 × 4"});
}

TEST(ForeignTensors, LayoutsThatAreNotKnownAreRefusedWithTheReason) {
  struct Case {
    json quantization;
    std::initializer_list<std::string_view> parts;
  };
  const Case cases[] = {
      {{{"quant_method", "gptq"}, {"checkpoint_format", "marlin"}}, {"marlin"}},
      {{{"quant_method", "gptq"}, {"bits", 5}}, {"5 bits"}},
      {{{"quant_method", "awq"}, {"version", "gemv"}}, {"AWQ", "gemv"}},
      {{{"quant_method", "compressed-tensors"},
        {"sparsity_config", {{"format", "sparse-24-bitmask"}}}},
       {"sparse-24-bitmask"}},
      {{{"quant_method", "bitnet"}, {"use_rms_norm", true}}, {"use_rms_norm"}},
  };
  for (const Case& each : cases) {
    TempFolder folder;
    json config = tiny_config();
    config["quantization_config"] = each.quantization;
    write_gptq(folder, config);
    expect_error<UnsupportedError>(
        [&] { Checkpoint::open(folder.path()); },
        each.parts);
  }
}

}  // namespace
}  // namespace roofline
