#include "roofline/weights/foreign_tensors.h"
#include "roofline/weights/foreign_rows.h"

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

/// The tiny model with a down projection of four-bit floats.
void write_small_floats(
    const TempFolder& folder,
    const json& quantization,
    const Change& change) {
  json config = tiny_config();
  config["quantization_config"] = quantization;
  write_gptq(folder, config, change, false);
}

const json kModelOpt = {{"quant_method", "modelopt"}, {"quant_algo", "NVFP4"}};
const json kCompressed = {
    {"quant_method", "compressed-tensors"},
    {"format", "nvfp4-pack-quantized"}};

std::string f32_bytes(float value) {
  return {reinterpret_cast<const char*>(&value), sizeof(value)};
}

TEST(ForeignTensors, OneFactorMultipliesAndAnotherDivides) {
  // e2m1 code 7 is 6, e4m3 0x38 is 1.
  const auto parts = [](const char* codes, const char* factor, float value) {
    return [=](SafetensorsBuilder& out, const std::string& module) {
      out.add(
             module + codes,
             "U8",
             {kDim, kHidden / 2},
             std::string(kDim * kHidden / 2, '\x77'))
          .add(
              module + ".weight_scale",
              "F8_E4M3",
              {kDim, kHidden / 16},
              std::string(kDim * kHidden / 16, '\x38'))
          .add(module + factor, "F32", {1}, f32_bytes(value));
    };
  };
  const auto first_of = [](const TempFolder& folder) {
    const auto checkpoint = Checkpoint::open(folder.path());
    std::vector<float> row(kHidden);
    decode_row(checkpoint->at("layers.0.feed_forward.down"), kDim - 1, row);
    return row[5];
  };
  TempFolder folder;
  write_small_floats(
      folder,
      kModelOpt,
      parts(".weight", ".weight_scale_2", 4.0f));
  EXPECT_EQ(first_of(folder), 24.0f);
  write_small_floats(
      folder,
      kCompressed,
      parts(".weight_packed", ".weight_global_scale", 4.0f));
  EXPECT_EQ(first_of(folder), 1.5f);
  write_small_floats(
      folder,
      kCompressed,
      parts(".weight_packed", ".weight_global_scale", 0.0f));
  expect_error<CheckpointError>(
      [&] { Checkpoint::open(folder.path()); },
      {"weight_global_scale", "positive"});
}

TEST(ForeignTensors, SmallFloatsThatCannotBeReadAreRefusedWithTheReason) {
  const auto packed = [](SafetensorsBuilder& out, const std::string& module) {
    out.add(
        module + ".weight",
        "U8",
        {kDim, kHidden / 2},
        std::string(kDim * kHidden / 2, '\x77'));
  };
  const auto scales = [](SafetensorsBuilder& out,
                         const std::string& module,
                         const char* dtype,
                         std::int64_t groups) {
    out.add(
        module + ".weight_scale",
        dtype,
        {kDim, groups},
        std::string(static_cast<std::size_t>(kDim * groups), '\x38'));
  };
  TempFolder folder;
  write_small_floats(folder, kModelOpt, packed);
  expect_error<CheckpointError>(
      [&] { Checkpoint::open(folder.path()); },
      {"down_proj.weight", ".weight_scale", "beside it"});
  write_small_floats(folder, kModelOpt, [&](auto& out, const auto& module) {
    packed(out, module);
    scales(out, module, "F8_E4M3", kHidden / 32);
  });
  expect_error<CheckpointError>(
      [&] { Checkpoint::open(folder.path()); },
      {"codes are 32 × 32", "F8_E4M3 32 × 2"});
  write_small_floats(folder, kModelOpt, [&](auto& out, const auto& module) {
    packed(out, module);
    scales(out, module, "F8_E4M3", kHidden / 16);
    out.add(
        module + ".pre_quant_scale",
        "BF16",
        {kHidden},
        std::string(2 * kHidden, '\1'));
  });
  expect_error<UnsupportedError>(
      [&] { Checkpoint::open(folder.path()); },
      {"pre_quant_scale", "multiplied with"});
}

TEST(ForeignTensors, AGroupLongerThanARowIsReadInGroupsThatDivideIt) {
  TempFolder folder;
  json config = gptq_config();
  config["quantization_config"]["group_size"] = 2 * kHidden;
  write_gptq(folder, config);
  const auto checkpoint = Checkpoint::open(folder.path());
  const Tensor& down = checkpoint->at("layers.0.feed_forward.down");
  const auto form = foreign_form(down);
  ASSERT_TRUE(form);
  EXPECT_EQ(form->group_size, kHidden);
}

TEST(ForeignTensors, WordsOfAnotherTypeAreNotReadPastTheirEnd) {
  for (const auto& [dtype, size] :
       {std::pair{"I8", 1}, {"F16", 2}, {"I64", 8}}) {
    TempFolder folder;
    const json config = {
        {"quant_method", "compressed-tensors"},
        {"format", "pack-quantized"},
        {"config_groups",
         {{"group_0", {{"weights", {{"num_bits", 4}, {"group_size", 32}}}}}}}};
    // clang 14 can't capture a structured binding by reference.
    write_small_floats(
        folder,
        config,
        [dtype = dtype, size = size](auto& out, const auto& module) {
          out.add(
                 module + ".weight_packed",
                 dtype,
                 {kDim, kHidden / 8},
                 std::string(kDim * kHidden / 8 * size, '\1'))
              .add(
                  module + ".weight_scale",
                  "F16",
                  {kDim, kHidden / 32},
                  std::string(kDim * kHidden / 32 * 2, '\1'))
              .add(module + ".weight_shape", "I64", {2}, std::string(16, '\0'));
        });
    EXPECT_THROW(Checkpoint::open(folder.path()), Error) << dtype;
  }
}

TEST(ForeignTensors, AnEmptyMatrixClaimsNoSize) {
  TempFolder folder;
  const std::int64_t huge = std::int64_t{1} << 62;
  write_small_floats(folder, kModelOpt, [&](auto& out, const auto& module) {
    out.add(module + ".weight", "U8", {0, huge}, "")
        .add(module + ".weight_scale", "F8_E4M3", {0, huge}, "");
  });
  expect_error<CheckpointError>(
      [&] { Checkpoint::open(folder.path()); },
      {"down_proj.weight", "empty"});
}

TEST(ForeignTensors, AFileBesideTheConfigTellsOfModelOpt) {
  TempFolder folder;
  folder.write("config.json", tiny_config().dump());
  folder.write(
      "hf_quant_config.json",
      R"({"producer": {"name": "modelopt"},
          "quantization": {"quant_algo": "FP8"}})");
  EXPECT_EQ(
      folder_config(folder.path())["quantization_config"],
      (json{{"quant_method", "modelopt"}, {"quant_algo", "FP8"}}));
  json own = tiny_config();
  own["quantization_config"] = {{"quant_method", "fp8"}};
  folder.write("config.json", own.dump());
  EXPECT_EQ(folder_config(folder.path()), own);
}

TEST(
    ForeignTensors,
    ModelOptWithoutAnAlgorithmLeavesFloatsAndDropsCacheScales) {
  for (const bool beside : {false, true}) {
    TempFolder folder;
    json config = tiny_config();
    const json null_algorithm = {
        {"quant_method", "modelopt"},
        {"quant_algo", nullptr},
        {"kv_cache_quant_algo", "FP8"}};
    if (beside) {
      folder.write(
          "hf_quant_config.json",
          json{{"quantization", null_algorithm}}.dump());
    } else {
      config["quantization_config"] = null_algorithm;
    }
    write_gptq(
        folder,
        config,
        [](SafetensorsBuilder& out, const std::string& module) {
          out.add(
                 module + ".weight",
                 "F32",
                 {kDim, kHidden},
                 std::string(kDim * kHidden * 4, '\0'))
              .add(
                  "model.layers.0.self_attn.k_proj.k_scale",
                  "F32",
                  {1},
                  f32_bytes(1));
        },
        false);
    const auto checkpoint = Checkpoint::open(folder.path());
    EXPECT_FALSE(checkpoint->spec().quantization);
    EXPECT_EQ(
        checkpoint->at("layers.0.feed_forward.down").encoding,
        Encoding::f32);
  }
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
      {{{"quant_method", "gptq"}, {"checkpoint_format", "marlin"}},
       {"marlin", "checkpoint_format gptq"}},
      {{{"quant_method", "gptq"}, {"is_marlin_format", true}},
       {"marlin", "checkpoint_format gptq"}},
      {{{"quant_method", "gptq"}, {"bits", 5}}, {"5 bits"}},
      {{{"quant_method", "awq"}, {"version", "gemv"}}, {"AWQ", "gemv"}},
      {{{"quant_method", "compressed-tensors"},
        {"sparsity_config", {{"format", "sparse-24-bitmask"}}}},
       {"sparse-24-bitmask"}},
      {{{"quant_method", "bitnet"}, {"use_rms_norm", true}}, {"use_rms_norm"}},
      {{{"quant_method", "compressed-tensors"},
        {"format", "mxfp6-pack-quantized"}},
       {"mxfp6-pack-quantized", "nvfp4-pack-quantized", "unquantized one"}},
      {{{"quant_method", "compressed-tensors"},
        {"config_groups", {{"group_0", {{"format", "marlin-24"}}}}}},
       {"marlin-24"}},
      {{{"quant_method", "modelopt"}, {"quant_algo", "W4A8_AWQ"}},
       {"ModelOpt", "W4A8_AWQ", "NVFP4", "unquantized one"}},
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
